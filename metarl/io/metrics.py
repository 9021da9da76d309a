"""The metrics log of a run: an append-only file with one strict JSON object on each line."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from metarl.core.errors import RunError
from metarl.io import strict_json
from metarl.io.atomic import atomic_write_bytes, describing_os_errors, write_all


@dataclass(frozen=True)
class MetricsLog:
    """A file of rows.

    NaN and infinities are written as the strings `"NaN"`, `"Infinity"`, `"-Infinity"`, so that
    every line is strict JSON; `rows` converts them back to floats.

    Attributes:
      path: path of the file, which need not exist.
    """

    path: Path

    def append(self, row: Mapping[str, Any]) -> None:
        """Appends one row; after return it survives a kill of this process.

        NumPy and JAX scalars and arrays are accepted.

        Raises:
          RunError: the disk is full or not writable; earlier rows are unchanged.
          TypeError: an entry has no JSON form.
        """
        line = (strict_json.canonical(dict(row)) + "\n").encode()
        with describing_os_errors("write the metrics", self.path):
            flags = os.O_RDWR | os.O_APPEND | os.O_CREAT
            descriptor = os.open(self.path, flags, 0o666)
            try:
                _append_line(descriptor, line)
            finally:
                os.close(descriptor)

    def rows(self) -> list[dict[str, Any]]:
        """Reads all complete rows; skips an incomplete last line, left by a kill.

        Raises:
          RunError: a line before the last is not a JSON object, or the file cannot be read.
        """
        return [strict_json.floats_from_strings(row) for _, row in self._lines()]

    def truncate_after(self, key: str, value: int) -> None:
        """Deletes the rows with `row[key] > value` and an incomplete last line.

        Rows without `key` stay. A run that resumes from step `value` calls this, so that no step is
        logged twice.

        Raises:
          RunError: the file cannot be read or written, or a line before the last is altered.
        """
        if not self.path.exists():
            return
        kept = [line for line, row in self._lines() if not _exceeds(row.get(key), value)]
        atomic_write_bytes(self.path, b"".join(line + b"\n" for line in kept))

    def _lines(self) -> list[tuple[bytes, dict[str, Any]]]:
        if not self.path.exists():
            return []
        with describing_os_errors("read the metrics", self.path):
            data = self.path.read_bytes()
        # Bytes after the last newline are an incomplete line.
        lines = data.split(b"\n")[:-1]
        parsed = []
        for number, line in enumerate(lines, start=1):
            row = _parse_row(line)
            if row is not None:
                parsed.append((line, row))
            elif number < len(lines):
                raise RunError(
                    f"Line {number} of {self.path} is not a JSON object: the file was altered."
                )
        return parsed


def _append_line(descriptor: int, line: bytes) -> None:
    """Appends a line, after removing an incomplete one of an earlier process."""
    size = os.fstat(descriptor).st_size
    whole = _size_of_whole_lines(descriptor, size)
    if whole < size:
        os.ftruncate(descriptor, whole)
    try:
        write_all(descriptor, line)
    except OSError:
        # Remove the incomplete row, so that the next append starts a line.
        if os.fstat(descriptor).st_size > whole:
            os.ftruncate(descriptor, whole)
        raise


def _size_of_whole_lines(descriptor: int, size: int) -> int:
    block = 4096
    end = size
    while end > 0:
        start = max(0, end - block)
        newline = os.pread(descriptor, end - start, start).rfind(b"\n")
        if newline >= 0:
            return start + newline + 1
        end = start
    return 0


def _parse_row(line: bytes) -> dict[str, Any] | None:
    try:
        row = strict_json.parse(line)
    except (ValueError, RecursionError):
        return None
    return row if isinstance(row, dict) else None


def _exceeds(entry: Any, value: int) -> bool:
    return isinstance(entry, int | float) and entry > value
