"""One checkpoint folder: `state/`, written by orbax, and `manifest.json`, which verifies it.

The manifest describes every leaf. It holds a SHA-256 of each file, so that damage is detected
before parsing, and one over all leaves, so that the restored values are the saved ones. The folder
is renamed to its final name when all of it is on disk.

Orbax is imported on first use, because importing it is slow and artifacts do not need it.
"""

import contextlib
import errno
import functools
import hashlib
import logging
import os
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import jax
import numpy as np

from metarl.core.errors import CheckpointError, RunError
from metarl.io import leaves, strict_json
from metarl.io.atomic import advice_for, describe, sync_file

SAVING = ".saving"
"""Suffix of a folder while it is written."""

_FORMAT = 1
_MANIFEST = "manifest.json"
_STATE = "state"
_SPARE_BYTES = 1 << 18
# The file cannot be read now, but it is not damaged: no reason to fall back to an older step.
_NOT_DAMAGE = {errno.EACCES, errno.EPERM, errno.EMFILE, errno.ENFILE, errno.ENOMEM}


class DamageError(Exception):
    """A checkpoint's files do not match the saved content."""


class Content(NamedTuple):
    """Content of a checkpoint.

    Attributes:
      specs: descriptions of the leaves.
      values: host values of the leaves.
      meta: dictionary saved with them.
    """

    specs: list[leaves.LeafSpec]
    values: list[np.ndarray]
    meta: dict[str, Any]


def content_digest(step: int, content: Content) -> str:
    """SHA-256 of a checkpoint's step, meta and leaves."""
    return leaves.digest([_FORMAT, step, content.meta], content.specs, content.values)


def write(target: Path, step: int, content: Content) -> None:
    """Writes the new folder `target` (an absolute path) atomically.

    Raises:
      OSError: the disk is full or not writable.
      CheckpointError: orbax cannot save the content.
    """
    _check_space(target.parent, content)
    saving = target.with_name(target.name + SAVING)
    if saving.exists():
        shutil.rmtree(saving)
    saving.mkdir()
    # Orbax saves neither empty arrays nor empty trees; the manifest describes both.
    stored = {_name(i): value for i, value in enumerate(content.values) if value.size}
    if stored:
        _save_state(saving / _STATE, stored)
    manifest = {
        "format": _FORMAT,
        "step": step,
        "meta": content.meta,
        "leaves": [spec._asdict() for spec in content.specs],
        "files": {name: _hash_file(saving / name) for name in _files_below(saving)},
        "digest": content_digest(step, content),
    }
    (saving / _MANIFEST).write_text(strict_json.pretty(manifest))
    for folder, _, files in os.walk(saving):
        for name in [*files, "."]:
            sync_file(Path(folder, name))
    os.replace(saving, target)
    sync_file(target.parent)


def read(path: Path, step: int) -> Content:
    """Reads and verifies a checkpoint folder.

    Raises:
      DamageError: the content is not the saved one.
      RunError: the folder is not readable, or memory or file handles are exhausted.
    """
    try:
        content, digest = _read_files(path)
        found = content_digest(step, content)
    except Exception as error:
        # The readers of several file formats raise various exceptions on damaged bytes.
        cause = _os_error_in(error)
        if cause is not None and cause.errno in _NOT_DAMAGE:
            raise RunError(
                f"Cannot read checkpoint {path}: {describe(cause)}. {advice_for(cause)}"
            ) from error
        raise DamageError(_first_line(error)) from error
    if found != digest:
        raise DamageError(f"its contents do not match the SHA-256 in {_MANIFEST}")
    return content


def _check_space(folder: Path, content: Content) -> None:
    # A disk that fills up during the save raises an error too, but orbax's threads then print
    # tracebacks, so the usual case is checked here.
    needed = _SPARE_BYTES + 2 * sum(value.nbytes for value in content.values)
    if shutil.disk_usage(folder).free < needed:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _read_files(path: Path) -> tuple[Content, str]:
    manifest = strict_json.parse((path / _MANIFEST).read_bytes())
    if manifest["format"] != _FORMAT:
        raise ValueError(f"its format is {manifest['format']!r}, not {_FORMAT}")
    for name, saved in manifest["files"].items():
        if _hash_file(path / name) != saved:
            raise DamageError(f"{name} does not match its SHA-256")
    specs = [
        leaves.LeafSpec(**{**leaf, "shape": tuple(leaf["shape"])}) for leaf in manifest["leaves"]
    ]
    return Content(specs, _read_values(path, specs), manifest["meta"]), manifest["digest"]


def _read_values(path: Path, specs: Sequence[leaves.LeafSpec]) -> list[np.ndarray]:
    stored = [_name(i) for i, spec in enumerate(specs) if 0 not in spec.shape]
    tree = _restore_state(path / _STATE, stored) if stored else {}
    return [
        _empty(spec) if 0 in spec.shape else np.asarray(tree[_name(i)])
        for i, spec in enumerate(specs)
    ]


def _save_state(path: Path, stored: Mapping[str, np.ndarray]) -> None:
    with _quiet():
        try:
            _orbax().PyTreeCheckpointer().save(path, stored)
        except Exception as error:
            if (cause := _os_error_in(error)) is not None:
                raise cause from error
            raise CheckpointError(_first_line(error)) from error


def _restore_state(path: Path, stored: Sequence[str]) -> Mapping[str, np.ndarray]:
    ocp = _orbax()
    as_numpy = dict.fromkeys(stored, ocp.RestoreArgs(restore_type=np.ndarray))
    with _quiet():
        return ocp.PyTreeCheckpointer().restore(path, restore_args=as_numpy)


def _empty(spec: leaves.LeafSpec) -> np.ndarray:
    if spec.key_impl is None:
        return np.zeros(spec.shape, np.dtype(spec.dtype))
    words = jax.random.key_data(jax.random.key(0, impl=spec.key_impl))
    return np.zeros((*spec.shape, *words.shape), words.dtype)


def _name(index: int) -> str:
    return f"leaf_{index:05d}"


@functools.cache
def _orbax() -> ModuleType:
    import orbax.checkpoint

    return orbax.checkpoint


def _files_below(path: Path) -> list[str]:
    return sorted(p.relative_to(path).as_posix() for p in path.rglob("*") if p.is_file())


def _hash_file(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _os_error_in(error: BaseException) -> OSError | None:
    """Returns the error if it is an OSError, or the one that tensorstore reports in its text."""
    if isinstance(error, OSError) and error.errno is not None:
        return error
    found = re.search(r"os_error_code='(\d+)'", str(error))
    return OSError(int(found[1]), os.strerror(int(found[1]))) if found else None


def _first_line(error: BaseException) -> str:
    if isinstance(error, DamageError):
        return str(error)
    lines = str(error).strip().splitlines()
    return f"{lines[0][:200]} ({type(error).__name__})" if lines else type(error).__name__


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Disables orbax's log, which prints tracebacks of errors that orbax also raises."""
    logger = logging.getLogger("absl")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)
