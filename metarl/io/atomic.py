"""Files that are either whole or absent, and operating-system errors in plain words."""

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
    """Says what a person can do about an operating-system error."""
    return _ADVICE.get(error.errno or 0, "Check the path and the disk, then try again.")


def describe(error: OSError) -> str:
    """Names an operating-system error: its text and, in brackets, its symbol."""
    symbol = errno.errorcode.get(error.errno or 0, type(error).__name__)
    return f"{error.strerror or error} ({symbol})"


@contextlib.contextmanager
def describing_os_errors(what: str, path: str | Path) -> Iterator[None]:
    """Turns an OSError of the body into one sentence for a person.

    Args:
      what: the verb and its object, such as `"write the config"`.
      path: where it happens.

    Raises:
      RunError: names the path, what happened and what to do.
    """
    try:
        yield
    except OSError as error:
        raise RunError(
            f"Cannot {what} at {path}: {describe(error)}. {advice_for(error)}"
        ) from error


def write_all(descriptor: int, data: bytes) -> None:
    """Writes every byte to an open file descriptor; the kernel may take them in parts."""
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def sync_file(path: Path) -> None:
    """Makes a file, or the names in a folder, survive a loss of power."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def atomic_write_bytes(path: str | Path, data: bytes) -> Path:
    """Writes a file such that readers, and a kill at any instant, see the old or the new one whole.

    Raises:
      RunError: the disk is full, read-only or closed to us; an old file is then untouched.
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
    """Writes UTF-8 text as `atomic_write_bytes` does."""
    return atomic_write_bytes(path, text.encode())
