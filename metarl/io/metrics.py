"""The metrics of a run: one strict JSON object a line, only appended, and cut on resuming."""

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
    every line is strict JSON; `rows` gives them back as floats.

    Attributes:
      path: the file; it need not exist yet.
    """

    path: Path

    def append(self, row: Mapping[str, Any]) -> None:
        """Writes one row; it survives a kill of this process from the moment of return.

        NumPy and JAX scalars and arrays are accepted.

        Raises:
          RunError: the disk is full or closed to us; earlier rows are untouched.
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
        """Reads every whole row; a last line that a kill has torn is left out.

        Raises:
          RunError: a line before the last is not a JSON object, or the file cannot be read.
        """
        return [strict_json.floats_from_strings(row) for _, row in self._lines()]

    def truncate_after(self, key: str, value: int) -> None:
        """Drops the rows with `row[key] > value` and a torn last line; rows without `key` stay.

        A run that resumes from step `value` calls this, so that no step is logged twice.

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
        # What follows the last newline was never finished.
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
    """Appends a line, first removing one that an earlier process left torn."""
    size = os.fstat(descriptor).st_size
    whole = _size_of_whole_lines(descriptor, size)
    if whole < size:
        os.ftruncate(descriptor, whole)
    try:
        write_all(descriptor, line)
    except OSError:
        # Take a half-written row back: the next append, after space was freed, starts a line.
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
