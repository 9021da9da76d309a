"""Programs that all tests of this room share, and one finished run."""

import os

import jax
import pytest

from metarl.run import cli, commands

from .tiny import arguments, build_once


@pytest.fixture(scope="session", autouse=True)
def _shared_programs():
    """Commands of this process and of its children compile what no test has compiled before."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(os.environ, "METARL_CACHE", jax.config.jax_compilation_cache_dir)
        patch.setattr(commands, "build", build_once)
        yield


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """Folder of a whole run of `TINY` that nothing interrupted."""
    out = tmp_path_factory.mktemp("finished") / "run"
    assert cli.main([*arguments(), "--out", str(out)]) == 0
    return out
