"""Atomic file writes, and readable messages for operating-system errors."""

import contextlib
import errno
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

from metarl.core.errors import RunError

_ADVICE = {
    errno.ENOSPC: "Free some space on that disk, then resume the run.",
    errno.EDQUOT: "Your disk quota is used up: free some space, then resume the run.",
    errno.EFBIG: "A file-size limit was reached (`ulimit -f`): raise it, then resume the run.",
    errno.EROFS: "Choose a writable folder, or mount this one for writing.",
    errno.EACCES: "You may not use this path: check its owner and permissions.",
    errno.EPERM: "You may not use this path: check its owner and permissions.",
    errno.ENOENT: "The path, or a folder above it, does not exist.",
    errno.ENOTDIR: "A part of the path is a file where a folder is needed.",
    errno.EISDIR: "A folder is in the place of the file.",
    errno.EIO: "The disk or its connection fails: check it before you resume the run.",
}


def advice_for(error: OSError) -> str:
    """Returns advice on how to fix an operating-system error."""
    return _ADVICE.get(error.errno or 0, "Check the path and the disk, then try again.")


def describe(error: OSError) -> str:
    """Describes an operating-system error: its text and, in parentheses, its symbol."""
    symbol = errno.errorcode.get(error.errno or 0, type(error).__name__)
    return f"{error.strerror or error} ({symbol})"


@contextlib.contextmanager
def describing_os_errors(what: str, path: str | Path) -> Iterator[None]:
    """Context manager that converts an OSError of its body to a RunError.

    Args:
      what: verb and object of the operation, such as `"write the config"`.
      path: path of the operation.

    Raises:
      RunError: the body raised an OSError; the message gives the path, the error and advice.
    """
    try:
        yield
    except OSError as error:
        raise RunError(
            f"Cannot {what} at {path}: {describe(error)}. {advice_for(error)}"
        ) from error


def write_all(descriptor: int, data: bytes) -> None:
    """Writes all bytes to an open file descriptor, in several calls if needed."""
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def sync_file(path: Path) -> None:
    """Calls fsync on a file or folder, so that its content survives a power failure."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def atomic_write_bytes(path: str | Path, data: bytes) -> Path:
    """Writes a file atomically: after a kill at any time, the old or the new content is complete.

    Raises:
      RunError: the disk is full or not writable; an old file is then unchanged.
    """
    path = Path(path)
    with describing_os_errors(f"write {path.name}", path):
        temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
        try:
            try:
                write_all(descriptor, data)
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            os.replace(temporary, path)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise
        sync_file(path.parent)
    return path


def atomic_write_text(path: str | Path, text: str) -> Path:
    """Writes UTF-8 text atomically, see `atomic_write_bytes`."""
    return atomic_write_bytes(path, text.encode())
