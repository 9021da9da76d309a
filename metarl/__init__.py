"""metarl: meta-reinforcement learning and learned optimizers in JAX.

Importing the package is cheap and touches neither a device nor the network; the rooms
(`metarl.rules`, `metarl.envs`, `metarl.inner`, ...) are imported when they are named.
"""

import importlib
from typing import Any

__all__ = ["meta_train"]


def __getattr__(name: str) -> Any:
    """Imports `meta_train`, and reads `__version__` of the installed package, on first use."""
    if name == "meta_train":
        return importlib.import_module("metarl.run.api").meta_train
    if name == "__version__":
        from importlib.metadata import version

        return version("metarl")
    raise AttributeError(f"module 'metarl' has no attribute {name!r}")
