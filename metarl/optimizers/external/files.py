"""Readers of external weight files (safetensors, msgpack) as named arrays, without unpickling."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
from flax import serialization

from metarl.core.errors import ArtifactError, nearest
from metarl.io.bounded import read_at_most

_MOST_BYTES = 1 << 26  # the largest known file has 10 MiB
_SAFETENSORS = ".safetensors"

Arrays = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class ExternalFile:
    """Named arrays of a file, with checked access.

    Attributes:
      path: path of the file.
      arrays: arrays by name; keys of nested dictionaries are joined by `/`.
    """

    path: Path
    arrays: Arrays

    def take(self, name: str, *shape: int | None) -> np.ndarray:
        """Returns an array as float32.

        Args:
          name: name of the array in the file.
          shape: required shape; None = any size of this axis.

        Raises:
          ArtifactError: it is missing, has another shape, or is not of finite floating numbers.
        """
        if name not in self.arrays:
            raise ArtifactError(
                f"{self.path} has no array {name!r}.{nearest(name, self.arrays)} "
                f"It has {', '.join(sorted(self.arrays)[:20]) or 'none'}."
            )
        array = self.arrays[name]
        fits = len(array.shape) == len(shape) and all(
            wanted is None or size == wanted
            for size, wanted in zip(array.shape, shape, strict=True)
        )
        if not fits or array.size == 0:
            wanted = ", ".join("any" if size is None else str(size) for size in shape)
            raise ArtifactError(
                f"{name!r} of {self.path} has the shape {array.shape}, needed: ({wanted})."
            )
        if array.dtype.name not in ("float16", "bfloat16", "float32", "float64"):
            raise ArtifactError(f"{name!r} of {self.path} is of dtype {array.dtype}, not floating.")
        array = np.asarray(array, np.float32)
        if not np.all(np.isfinite(array)):
            raise ArtifactError(f"{name!r} of {self.path} holds elements that are not finite.")
        return array


def read_external_file(path: str | Path) -> ExternalFile:
    """Reads a `.safetensors` file, a folder of them whose arrays have different names, or msgpack.

    Files without the suffix `.safetensors` are parsed as flax's msgpack serialization of nested
    dictionaries of arrays.

    Raises:
      ArtifactError: the file is missing, damaged, too large, or of another format.
    """
    path = Path(path)
    if not path.is_dir():
        return ExternalFile(path, _read(path))
    arrays: dict[str, np.ndarray] = {}
    for file in sorted(path.glob(f"*{_SAFETENSORS}")):
        for name, array in _read(file).items():
            if name in arrays:
                raise ArtifactError(f"Two files in {path} have an array {name!r}.")
            arrays[name] = array
    if not arrays:
        raise ArtifactError(f"The folder {path} holds no {_SAFETENSORS} file.")
    return ExternalFile(path, arrays)


def _read(path: Path) -> Arrays:
    data = read_at_most(path, _MOST_BYTES, "the weights", "any weights of an optimizer")
    parse: Callable[[bytes], Arrays] = _msgpack
    if path.suffix == _SAFETENSORS:
        parse = safetensors.numpy.load
    try:
        return parse(data)
    except Exception as error:  # parsers raise what they meet in a damaged file
        raise ArtifactError(f"{path} is damaged, or something else: {error}") from None


def _msgpack(data: bytes) -> Arrays:
    tree = serialization.msgpack_restore(data)
    if not isinstance(tree, dict):
        raise ArtifactError(f"it holds {type(tree).__name__}, not a dictionary of arrays.")
    return dict(_flat(tree, ()))


def _flat(tree: Mapping[Any, Any], above: tuple[str, ...]) -> Iterator[tuple[str, np.ndarray]]:
    for name, value in tree.items():
        path = (*above, str(name))
        if isinstance(value, dict):
            yield from _flat(value, path)
        else:
            yield "/".join(path), np.asarray(value)
