"""Damaged checkpoints are skipped and named, and never taken for good."""

import errno
import os
import random
import shutil

import pytest

from metarl.core.errors import CheckpointError, RunError
from metarl.io import orbax_folder

from .states import assert_same, state_at


def _files(folder):
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _damages(data, rng):
    for _ in range(3):
        flipped = bytearray(data)
        flipped[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        yield bytes(flipped)
    for size in sorted({0, len(data) // 2, len(data) - 1}):
        yield data[:size]
    yield data + b"\0"
    yield None


def _write_or_delete(path, data):
    path.unlink() if data is None else path.write_bytes(data)


def test_damage_to_any_file_is_found_or_harmless(two):
    rng = random.Random(0)
    for path in _files(two.folder / "2"):
        data = path.read_bytes()
        for damaged in _damages(data, rng):
            _write_or_delete(path, damaged)
            restored = two.latest(state_at(0))
            assert_same(restored.state, state_at(restored.step))
            # Only the manifest, JSON with blanks in it, has bytes that say nothing.
            if path.name != "manifest.json" or restored.step == 1:
                assert restored.step == 1
                [skipped] = restored.skipped
                assert skipped.startswith("checkpoint 2 is truncated or altered: ")
                assert path.name in skipped or path.name == "manifest.json"
            path.write_bytes(data)
    assert two.latest(state_at(0)).step == 2


def test_what_the_manifest_says_is_vouched_for_too(two):
    path = two.folder / "2" / "manifest.json"
    text = path.read_text()
    for old, new in [
        ('"step": 2', '"step": 3'),
        ("['theta']['w']", "['theta']['v']"),
        ("float32", "float16"),
        ("threefry2x32", "rbg"),
        ("state/_METADATA", "state/_METADATa"),
    ]:
        assert old in text
        path.write_text(text.replace(old, new))
        assert two.latest(state_at(0)).step == 1, (old, new)


def test_a_checkpoint_under_another_step_is_found(two):
    shutil.copytree(two.folder / "1", two.folder / "3")
    restored = two.latest(state_at(0))
    assert restored.step == 2
    assert "SHA-256" in restored.skipped[0]


def test_when_all_are_damaged_all_are_named(two):
    (two.folder / "1" / "manifest.json").unlink()
    shutil.rmtree(two.folder / "2" / "state")
    with pytest.raises(CheckpointError, match=r"checkpoint 2 is .*; checkpoint 1 is .*manifest"):
        two.latest(state_at(0))


def test_a_checkpoint_that_we_may_not_read_is_not_taken_for_damaged(two, monkeypatch):
    def closed(path):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))

    monkeypatch.setattr(orbax_folder, "_hash_file", closed)
    with pytest.raises(RunError, match=r"Cannot read checkpoint .*EACCES") as raised:
        two.latest(state_at(0))
    assert not isinstance(raised.value, CheckpointError)
