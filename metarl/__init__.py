"""metarl: meta-reinforcement learning and learned optimizers in JAX.

Importing the package is cheap and touches neither a device nor the network; the rooms
(`metarl.rules`, `metarl.envs`, `metarl.inner`, ...) are imported when they are named.
"""

from typing import Any


def __getattr__(name: str) -> Any:
    """`__version__` is that of the installed package, read only when it is asked for."""
    if name != "__version__":
        raise AttributeError(f"module 'metarl' has no attribute {name!r}")
    from importlib.metadata import version

    return version("metarl")
