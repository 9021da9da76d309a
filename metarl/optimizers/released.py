"""Names of weights that others released, `celo:PATH`, `velo:PATH` and so on, and their loaders."""

from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from metarl.core.errors import ConfigError, nearest
from metarl.core.types import Theta
from metarl.optimizers import imported

RELEASED: Mapping[str, Callable[[str | Path], tuple[Any, Theta]]] = MappingProxyType(
    {
        "celo": imported.load_celo,
        "celo2": imported.load_celo2,
        "celo_adam": imported.load_celo_adam,
        "mulo": imported.load_mulo,
        "velo": imported.load_velo,
    }
)
"""What stands before the colon, and what reads the file after it: config and theta."""

UNDER_MUP = frozenset({"mulo"})
"""Those that were meta-trained under maximal-update parametrisation."""


def split_name(name: str | Path) -> tuple[str, str] | None:
    """Splits `celo:PATH` into what stands before and after the colon; None for other names."""
    prefix, colon, path = str(name).partition(":")
    if isinstance(name, Path) or not colon or Path(name).exists():
        return None
    return prefix, path


def read_released(prefix: str, path: str | Path) -> tuple[Any, Theta]:
    """Reads the config and theta of weights that others released.

    Raises:
      ConfigError: nothing is called `prefix`.
      ArtifactError: the file is missing, damaged, or holds something else.
    """
    if prefix not in RELEASED:
        raise ConfigError(
            f"Unknown weights {prefix + ':'!r}.{nearest(prefix, RELEASED)} "
            f"Permitted: {', '.join(f'{entry}:PATH' for entry in RELEASED)}."
        )
    return RELEASED[prefix](path)
