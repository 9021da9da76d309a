"""Files are whole or absent; every operating-system error becomes a sentence."""

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from metarl.core.errors import RunError
from metarl.io import atomic
from metarl.io.atomic import atomic_write_bytes, atomic_write_text, describing_os_errors


def _fail(code):
    def call(*args, **kwargs):
        raise OSError(code, os.strerror(code))

    return call


def test_a_written_file_is_read_back(tmp_path):
    path = atomic_write_bytes(tmp_path / "a", b"\x00old")
    assert path.read_bytes() == b"\x00old"
    atomic_write_text(path, "né\n")
    assert path.read_bytes() == "né\n".encode()
    assert [entry.name for entry in tmp_path.iterdir()] == ["a"]


def test_permissions_follow_the_umask(tmp_path):
    mask = os.umask(0o027)
    try:
        path = atomic_write_text(tmp_path / "a", "x")
    finally:
        os.umask(mask)
    assert path.stat().st_mode & 0o777 == 0o640


def test_short_writes_are_continued(tmp_path, monkeypatch):
    write = os.write
    monkeypatch.setattr(atomic.os, "write", lambda fd, data: write(fd, bytes(data[:7])))
    assert atomic_write_bytes(tmp_path / "a", bytes(range(100))).read_bytes() == bytes(range(100))


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EIO])
@pytest.mark.parametrize("call", ["open", "write", "fsync", "replace"])
def test_a_failing_write_leaves_the_old_file_and_no_other(tmp_path, monkeypatch, call, code):
    path = atomic_write_bytes(tmp_path / "a", b"old")
    with monkeypatch.context() as patch:
        patch.setattr(atomic.os, call, _fail(code))
        with pytest.raises(RunError) as raised:
            atomic_write_bytes(path, b"new")
    message = str(raised.value)
    assert str(path) in message
    assert errno.errorcode[code] in message
    assert atomic.advice_for(OSError(code, "")) in message
    assert path.read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["a"]


def test_a_really_full_device_is_described():
    with (
        pytest.raises(RunError, match=r"Cannot write x at /dev/full: No space left.*Free some"),
        describing_os_errors("write x", "/dev/full"),
        open("/dev/full", "wb", buffering=0) as full,
    ):
        atomic.write_all(full.fileno(), b"x")


@pytest.mark.skipif(os.getuid() == 0, reason="root may write everywhere; see the patched test")
def test_a_really_closed_folder_is_described(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(RunError, match="EACCES"):
        atomic_write_bytes(tmp_path / "a", b"x")


def test_other_errors_pass():
    with pytest.raises(KeyError), describing_os_errors("do", "there"):
        raise KeyError("x")


_WRITER = """
import sys
from metarl.io.atomic import atomic_write_bytes
print("ready", flush=True)
while True:
    for letter in b"abcdefgh":
        atomic_write_bytes(sys.argv[1], bytes([letter]) * 300_000)
"""


def test_a_kill_leaves_one_whole_version(tmp_path):
    path = tmp_path / "a"
    atomic_write_bytes(path, b"a" * 300_000)
    with subprocess.Popen(
        [sys.executable, "-c", _WRITER, str(path)], stdout=subprocess.PIPE
    ) as child:
        child.stdout.readline()
        # A reader at any instant sees what a kill at that instant would leave.
        for _ in range(200):
            data = path.read_bytes()
            assert len(data) == 300_000
            assert len(set(data)) == 1
        child.send_signal(signal.SIGKILL)
    data = Path(path).read_bytes()
    assert len(data) == 300_000
    assert len(set(data)) == 1
