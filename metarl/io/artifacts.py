"""Artifacts: learned parameters, as a safetensors file with a JSON card.

`X.safetensors` holds the arrays (nested keys joined by `/`). `X.json` in the same folder is the
card, which holds the SHA-256 of the safetensors file. This library reads and writes no pickle.
"""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import safetensors
import safetensors.numpy

from metarl.core.errors import ArtifactError, RunError, nearest
from metarl.io import strict_json
from metarl.io.atomic import atomic_write_bytes, atomic_write_text, describing_os_errors

FORMAT = 1
WEIGHTS_SUFFIX = ".safetensors"
CARD_SUFFIX = ".json"
CARD_FIELDS = (
    "kind",
    "name",
    "description",
    "made_by",
    "config_hash",
    "versions",
    "scores",
    "licence",
)
"""Required fields of a card; `format` and `weights_sha256` are added on saving."""

_DTYPES: dict[str, Any] = {
    "BOOL": np.bool_,
    "I8": np.int8,
    "I16": np.int16,
    "I32": np.int32,
    "I64": np.int64,
    "U8": np.uint8,
    "U16": np.uint16,
    "U32": np.uint32,
    "U64": np.uint64,
    "F16": np.float16,
    "BF16": ml_dtypes.bfloat16,
    "F32": np.float32,
    "F64": np.float64,
    "C64": np.complex64,
}
_DTYPE_NAMES = {np.dtype(dtype).name for dtype in _DTYPES.values()}


@dataclass(frozen=True)
class Artifact:
    """Arrays and their description.

    Attributes:
      arrays: nested dictionary of NumPy arrays.
      card: description, origin, config hash, versions, scores and license, by `CARD_FIELDS`.
      path: safetensors file from which the artifact was loaded; None if it was never saved.
    """

    arrays: dict[str, Any]
    card: dict[str, Any]
    path: Path | None = None


def config_hash(config: Any) -> str:
    """Hash of a configuration: the first 16 hex digits of the SHA-256 of its canonical JSON."""
    return hashlib.sha256(strict_json.canonical(config).encode()).hexdigest()[:16]


def save_artifact(path: str | Path, arrays: Mapping[str, Any], card: Mapping[str, Any]) -> Path:
    """Saves arrays and their card; each of the two files is written atomically.

    Args:
      path: path of the artifact, with the suffix `.safetensors` or without a suffix.
      arrays: nested dictionary of NumPy or JAX arrays; keys without `/`, no empty dictionary
        inside another.
      card: description with at least the `CARD_FIELDS`.

    Returns:
      The path of the safetensors file.

    Raises:
      ArtifactError: a field of the card is missing, or a key or dtype cannot be stored.
      RunError: the disk is full or not writable.
    """
    weights_path, card_path = _paths(path)
    _check_fields(card, card_path)
    flat = dict(_flatten(arrays, ()))
    data = safetensors.numpy.save(flat)
    added = {"format": FORMAT, "weights_sha256": hashlib.sha256(data).hexdigest()}
    try:
        text = strict_json.pretty({**card, **added})
    except TypeError as error:
        raise ArtifactError(f"The card of {weights_path.name} cannot be saved: {error}") from None
    with describing_os_errors("make the folder", weights_path.parent):
        weights_path.parent.mkdir(parents=True, exist_ok=True)
    atomic_write_bytes(weights_path, data)
    atomic_write_text(card_path, text)
    return weights_path


def load_artifact(path: str | Path) -> Artifact:
    """Loads an artifact and verifies the SHA-256 of its weights.

    Args:
      path: `.safetensors` file, `.json` card, or their common path without suffix.

    Raises:
      ArtifactError: a file is missing (the nearest names are given), altered or truncated, or is
        not an artifact.
      RunError: a file cannot be read.
    """
    weights_path, card_path = _paths(path)
    if not weights_path.is_file():
        raise ArtifactError(_missing(Path(path), weights_path))
    if not card_path.is_file():
        raise ArtifactError(
            f"{weights_path} has no card: {card_path.name} is missing in its folder."
        )
    card = _read_card(card_path)
    with describing_os_errors("read the artifact", weights_path):
        data = weights_path.read_bytes()
    found = hashlib.sha256(data).hexdigest()
    if found != card["weights_sha256"]:
        raise ArtifactError(
            f"{weights_path} is altered or truncated: the SHA-256 of its {len(data)} bytes is "
            f"{found}, its card has {card['weights_sha256']}."
        )
    return Artifact(_parse_weights(data, weights_path), card, weights_path)


def _paths(path: str | Path) -> tuple[Path, Path]:
    path = Path(path)
    stem = path.name.removesuffix(WEIGHTS_SUFFIX)
    if stem == path.name:
        stem = path.name.removesuffix(CARD_SUFFIX)
    if not stem or stem == "..":
        raise ArtifactError(f"{path} is not the name of an artifact.")
    return path.with_name(stem + WEIGHTS_SUFFIX), path.with_name(stem + CARD_SUFFIX)


def _check_fields(card: Mapping[str, Any], card_path: Path, *more: str) -> None:
    missing = [field for field in (*more, *CARD_FIELDS) if field not in card]
    if missing:
        raise ArtifactError(
            f"The card {card_path} lacks {', '.join(missing)}; needed: {', '.join(CARD_FIELDS)}."
        )


def _flatten(tree: Mapping[str, Any], above: tuple[str, ...]) -> Iterator[tuple[str, np.ndarray]]:
    if above and not tree:
        raise ArtifactError(f"The dictionary at {'/'.join(above)!r} is empty and would be lost.")
    for key, value in tree.items():
        if not isinstance(key, str) or not key or "/" in key or key == "__metadata__":
            raise ArtifactError(
                f"{key!r} cannot name an array: use a string without '/', not empty."
            )
        path = (*above, key)
        if isinstance(value, Mapping):
            yield from _flatten(value, path)
        else:
            yield "/".join(path), _storable(value, "/".join(path))


def _storable(value: Any, name: str) -> np.ndarray:
    try:
        # safetensors requires contiguous memory in native byte order.
        array = np.array(value, order="C")
        array = array.astype(array.dtype.newbyteorder("="), copy=False)
    except (TypeError, ValueError) as error:
        raise ArtifactError(f"{name!r} is not an array: {error}") from None
    if array.dtype.name not in _DTYPE_NAMES:
        raise ArtifactError(
            f"{name!r} has dtype {array.dtype}; storable: {', '.join(sorted(_DTYPE_NAMES))}."
        )
    return array


def _missing(requested: Path, weights_path: Path) -> str:
    if requested.is_file() and requested.suffix not in (WEIGHTS_SUFFIX, CARD_SUFFIX):
        return (
            f"{requested} is not an artifact: an artifact is a .safetensors file and a .json card "
            "in one folder."
        )
    folder = weights_path.parent
    if not folder.is_dir():
        return f"There is no artifact {weights_path}: the folder {folder} does not exist."
    present = sorted(entry.name for entry in folder.glob("*" + WEIGHTS_SUFFIX))
    listed = (
        f" Present: {', '.join(present[:10])}." if present else f" The folder {folder} holds none."
    )
    return f"There is no artifact {weights_path}.{nearest(weights_path.name, present)}{listed}"


def _read_card(card_path: Path) -> dict[str, Any]:
    try:
        with describing_os_errors("read the card", card_path):
            card = strict_json.parse(card_path.read_bytes())
    except RunError:
        raise
    except (ValueError, RecursionError) as error:
        raise ArtifactError(f"The card {card_path} is not JSON: {error}") from None
    if not isinstance(card, dict):
        raise ArtifactError(f"The card {card_path} is not a JSON object.")
    _check_fields(card, card_path, "format", "weights_sha256")
    if card["format"] != FORMAT:
        raise ArtifactError(
            f"The card {card_path} has format {card['format']!r}; this version reads {FORMAT}."
        )
    return card


def _parse_weights(data: bytes, path: Path) -> dict[str, Any]:
    try:
        entries = safetensors.deserialize(data)
        arrays = {name: _array(entry) for name, entry in entries}
    except (safetensors.SafetensorError, KeyError, ValueError) as error:
        raise ArtifactError(
            f"{path} is not a safetensors file that metarl reads: {error}"
        ) from None
    tree: dict[str, Any] = {}
    for name, array in arrays.items():
        *above, last = name.split("/")
        node = tree
        for part in above:
            node = node.setdefault(part, {})
            if not isinstance(node, dict):
                raise ArtifactError(f"{path} holds both an array and a folder named {part!r}.")
        if last in node:
            raise ArtifactError(f"{path} holds two entries named {name!r}.")
        node[last] = array
    return tree


def _array(entry: Mapping[str, Any]) -> np.ndarray:
    dtype = np.dtype(_DTYPES[entry["dtype"]])
    # A copy, because an array over the file's bytes is read-only.
    return np.frombuffer(entry["data"], dtype).reshape(entry["shape"]).copy()
