"""Folders of checkpoints that the tests of checkpoints share."""

import shutil

import pytest

from metarl.io.checkpoints import Checkpoints

from .states import state_at


@pytest.fixture
def store(tmp_path):
    """Checkpoints in an empty folder."""
    return Checkpoints(tmp_path / "checkpoints")


@pytest.fixture(scope="session")
def two_saved(tmp_path_factory):
    """A folder with checkpoints 1 and 2; tests work on copies."""
    folder = tmp_path_factory.mktemp("two") / "checkpoints"
    for step in (1, 2):
        Checkpoints(folder).save(step, state_at(step), {"step": step})
    return folder


@pytest.fixture
def two(two_saved, tmp_path):
    """Checkpoints 1 and 2 of a test's own."""
    return Checkpoints(shutil.copytree(two_saved, tmp_path / "checkpoints"))
