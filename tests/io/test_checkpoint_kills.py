"""A save that is cut short at any instant loses nothing that was saved before."""

import itertools
import os
import random
import shutil
import subprocess

import pytest

from metarl.io import checkpoints, orbax_folder
from metarl.io.checkpoints import Checkpoints

from .states import assert_same, python, state_at


class _Killed(BaseException):
    """Ends a save where it stands, as a kill does: nothing of ours runs after it."""


def test_a_save_cut_at_any_step_of_the_disk_loses_nothing(two_saved, tmp_path, monkeypatch):
    cuts = 0
    while True:
        folder = shutil.copytree(two_saved, tmp_path / str(cuts))
        store = Checkpoints(folder, keep=2)
        with monkeypatch.context() as patch:
            _cut_after(patch, cuts)
            try:
                store.save(3, state_at(3), {})
            except _Killed:
                cuts += 1
            else:
                break
        restored = store.latest(state_at(0))
        assert restored.skipped == []
        assert restored.step in (2, 3)
        assert_same(restored.state, state_at(restored.step))
        store.delete_after(2)
        store.save(3, state_at(3), {})
        assert sorted(os.listdir(folder)) == ["2", "3"]
    # Every file, folder, rename and deletion was a place to stop; how many there are varies by a
    # few, since tensorstore may split what it writes into more or fewer files.
    assert cuts > 15


def _cut_after(patch, calls):
    """Raises _Killed at the call number `calls` that changes the disk."""
    counter = itertools.count()

    def cutting(function):
        def call(*args, **kwargs):
            if next(counter) == calls:
                raise _Killed
            return function(*args, **kwargs)

        return call

    for owner, name in [
        (orbax_folder, "sync_file"),
        (orbax_folder, "_save_state"),
        (orbax_folder.Path, "write_text"),
        (os, "replace"),
        (checkpoints.shutil, "rmtree"),
        (os, "unlink"),
    ]:
        patch.setattr(owner, name, cutting(getattr(owner, name)))


_SAVER = """
import sys
from pathlib import Path
from tests.io.states import state_at
from metarl.io.checkpoints import Checkpoints

store = Checkpoints(Path(sys.argv[1]), keep=2)
restored = store.latest(state_at(0))
step = 0 if restored is None else restored.step
while True:
    step += 1
    store.save(step, state_at(step), {"step": step})
    print(step, flush=True)
"""


@pytest.mark.parametrize("kills", [3, pytest.param(8, marks=pytest.mark.slow)])
def test_a_kill_at_any_moment_loses_nothing(store, kills):
    rng = random.Random(0)
    reported = 0
    for _ in range(kills):
        child = python(_SAVER, store.folder)
        try:
            reported = int(child.stdout.readline())
            with pytest.raises(subprocess.TimeoutExpired):
                child.wait(rng.uniform(0.0, 0.2))
        finally:
            child.kill()
        reported = max([reported, *map(int, child.communicate()[0].split())])
        restored = store.latest(state_at(0))
        assert restored.skipped == []
        assert restored.step in (reported, reported + 1)
        assert restored.meta == {"step": restored.step}
        assert_same(restored.state, state_at(restored.step))
    store.save(restored.step + 1, state_at(0), {})
    assert all(name.isdigit() for name in os.listdir(store.folder))
