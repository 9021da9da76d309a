"""Loading of DiscoRL meta-parameters, in the format of the published Disco103.

The file `disco_103.npz` is not part of this library: it comes from
github.com/google-deepmind/disco_rl (`disco_rl/update_rules/weights`), under CC BY 4.0.
"""

import hashlib
import zipfile
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.lib.npyio import NpzFile

from metarl.core.errors import ArtifactError, nearest
from metarl.core.types import Theta
from metarl.rules.disco.config import DiscoConfig
from metarl.rules.disco.rule import disco
from metarl.rules.disco.theta import from_published, published_shapes
from metarl.rules.update_rule import UpdateRule

DISCO_103_SHA256 = "dac840a15b81e8805326363458c33979626172618f620d9e6e170315388530aa"
"""SHA-256 of the published file `disco_103.npz`."""

_UNREADABLE = (ValueError, OSError, EOFError, KeyError, zipfile.BadZipFile, zlib.error)


@dataclass(frozen=True, eq=False)
class LoadedDisco:
    """Meta-parameters read from a file.

    Attributes:
      config: architecture and constants.
      theta: meta-parameters (NumPy, float32).
      sha256: SHA-256 of the file, hexadecimal.
    """

    config: DiscoConfig
    theta: Theta
    sha256: str

    @property
    def is_disco_103(self) -> bool:
        """Whether the file is the published one, byte for byte."""
        return self.sha256 == DISCO_103_SHA256

    @property
    def rule(self) -> UpdateRule:
        """The update rule whose `init` returns these meta-parameters."""
        return disco(self.config, self.theta, "disco103" if self.is_disco_103 else "disco")


def load(path: str | Path, config: DiscoConfig | None = None) -> LoadedDisco:
    """Loads meta-parameters from an `.npz` file with the published names.

    Args:
      path: path of the file.
      config: architecture of the meta-parameters; None = that of Disco103.

    Raises:
      ArtifactError: the file is missing, truncated, pickled, of another architecture, or holds
        values that are not finite.

    Example:
      >>> from metarl.rules import disco
      >>> rule = disco.load("disco_103.npz").rule  # doctest: +SKIP
    """
    config = DiscoConfig() if config is None else config
    shapes = published_shapes(config)
    try:
        digest = hashlib.sha256(Path(path).read_bytes()).hexdigest()
        file = np.load(path, allow_pickle=False)
        if not isinstance(file, NpzFile):
            raise ArtifactError(f"{path} holds a single array; an .npz file has many, by name.")
        with file:
            _check_names(path, file.files, shapes)
            arrays = {name: file[name] for name in file.files}
    except ArtifactError:
        raise
    except _UNREADABLE as error:
        reason = str(error).strip() or type(error).__name__
        raise ArtifactError(
            f"{path} is not a readable .npz file of plain arrays: {reason}"
        ) from error
    for name, shape in shapes.items():
        _check_array(path, name, arrays[name], shape)
    return LoadedDisco(config, from_published(config, arrays), digest)


def _check_names(path: str | Path, found: Iterable[str], expected: Iterable[str]) -> None:
    unknown, missing = sorted(set(found) - set(expected)), sorted(set(expected) - set(found))
    if unknown:
        raise ArtifactError(
            f"{path}: {len(unknown)} arrays are not of a DiscoRL meta-network, such as "
            f"{unknown[0]!r}.{nearest(unknown[0], expected)}"
        )
    if missing:
        raise ArtifactError(f"{path}: {len(missing)} arrays are missing, such as {missing[0]!r}.")


def _check_array(path: str | Path, name: str, array: np.ndarray, shape: tuple[int, ...]) -> None:
    if array.shape != shape:
        raise ArtifactError(f"{path}: {name!r} has shape {array.shape}, expected {shape}.")
    if array.dtype != np.float32:
        raise ArtifactError(f"{path}: {name!r} is {array.dtype}, expected float32.")
    if not np.all(np.isfinite(array)):
        raise ArtifactError(f"{path}: {name!r} holds numbers that are not finite.")
