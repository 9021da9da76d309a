"""A disk that is full, read-only or forbidden is described, and costs no checkpoint."""

import errno
import os
import shutil

import pytest

from metarl.core.errors import RunError
from metarl.io import orbax_folder

from .states import assert_same, python, state_at


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.EACCES])
@pytest.mark.parametrize("where", ["state", "manifest", "sync", "rename"])
def test_a_failing_disk_is_described_and_costs_nothing(two, monkeypatch, code, where):
    def fail(*args, **kwargs):
        raise OSError(code, os.strerror(code))

    owner, name = {
        "state": (orbax_folder._orbax().PyTreeCheckpointer, "save"),
        "manifest": (orbax_folder.Path, "write_text"),
        "sync": (orbax_folder, "sync_file"),
        "rename": (orbax_folder.os, "replace"),
    }[where]
    with monkeypatch.context() as patch:
        patch.setattr(owner, name, fail)
        with pytest.raises(RunError) as raised:
            two.save(3, state_at(3), {})
    message = str(raised.value)
    assert f"Cannot save checkpoint 3 in {two.folder}" in message
    assert errno.errorcode[code] in message
    assert "the newest good one is 2" in message
    assert sorted(os.listdir(two.folder)) == ["1", "2"]
    assert_same(two.latest(state_at(0)).state, state_at(2))
    two.save(3, state_at(3), {})
    assert two.latest(state_at(0)).step == 3


def test_a_nearly_full_disk_is_refused_before_orbax_writes(two, monkeypatch):
    usage = shutil.disk_usage(two.folder)._replace(free=10_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    with pytest.raises(RunError, match=r"ENOSPC.*newest good one is 2.*Free some space"):
        two.save(3, state_at(3), {})


_LIMITED = """
import resource, sys, numpy as np
from pathlib import Path
from metarl.core.errors import RunError
from metarl.io.checkpoints import Checkpoints

store = Checkpoints(Path(sys.argv[1]))
state = {"w": np.random.default_rng(0).normal(size=30_000)}
store.save(3, {"w": np.zeros(30_000)}, {})
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
try:
    store.save(4, state, {})
except RunError as error:
    print(error)
"""


def test_a_write_that_the_kernel_refuses_inside_tensorstore_is_described(two):
    child = python(_LIMITED, two.folder)
    output, _ = child.communicate(timeout=120)
    assert "Cannot save checkpoint 4" in output
    assert "EFBIG" in output
    assert "the newest good one is 3" in output
    assert two.steps() == [1, 2, 3]
    assert sorted(os.listdir(two.folder)) == ["1", "2", "3"]
