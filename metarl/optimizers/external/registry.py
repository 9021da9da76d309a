"""Registry of loaders of external weights, `celo:PATH`, `velo:PATH` and so on."""

from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from metarl.core.errors import ConfigError, nearest
from metarl.core.types import Theta
from metarl.optimizers.external import loaders

EXTERNAL: Mapping[str, Callable[[str | Path], tuple[Any, Theta]]] = MappingProxyType(
    {
        "celo": loaders.load_celo,
        "celo2": loaders.load_celo2,
        "celo_adam": loaders.load_celo_adam,
        "mulo": loaders.load_mulo,
        "velo": loaders.load_velo,
    }
)
"""Loaders by the prefix before the colon; a loader maps a path to config and theta."""

UNDER_MUP = frozenset({"mulo"})
"""Prefixes of weights that were meta-trained under maximal-update parametrization."""


def split_name(name: str | Path) -> tuple[str, str] | None:
    """Splits `celo:PATH` into prefix and path; None for other names and existing files."""
    prefix, colon, path = str(name).partition(":")
    if isinstance(name, Path) or not colon or Path(name).exists():
        return None
    return prefix, path


def read_external(prefix: str, path: str | Path) -> tuple[Any, Theta]:
    """Reads the config and theta of external weights.

    Raises:
      ConfigError: `prefix` is unknown.
      ArtifactError: the file is missing, damaged, or of another format.
    """
    if prefix not in EXTERNAL:
        raise ConfigError(
            f"Unknown weights {prefix + ':'!r}.{nearest(prefix, EXTERNAL)} "
            f"Permitted: {', '.join(f'{entry}:PATH' for entry in EXTERNAL)}."
        )
    return EXTERNAL[prefix](path)
