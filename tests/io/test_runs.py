"""Run directories: made whole, opened with care, written by one process."""

import errno
import json
import os
import re
import subprocess
import sys

import jax
import numpy as np
import pytest

from metarl.core.errors import RunError
from metarl.io import atomic, runs
from metarl.io.runs import RunDirectory

_CONFIG = {"outer": {"sigma": 0.05, "sizes": (16, 16)}, "seed": 0, "env": None}


@pytest.fixture
def run(tmp_path):
    return RunDirectory.create(tmp_path, "lpo", _CONFIG)


def test_what_a_new_run_holds(run, tmp_path):
    assert run.path.parent == tmp_path / "lpo"
    assert re.fullmatch(r"\d{8}-\d{6}-[0-9a-f]{6}", run.path.name)
    assert json.loads((run.path / "config.json").read_text()) == {
        "outer": {"sigma": 0.05, "sizes": [16, 16]},
        "seed": 0,
        "env": None,
    }
    assert json.loads((run.path / "versions.json").read_text()) == run.versions
    for folder in (run.artifacts, run.figures, run.checkpoints().folder):
        assert folder.is_dir()
        assert folder.parent == run.path
    assert run.report == run.path / "report.html"
    assert run.checkpoints(keep=5).keep == 5
    run.metrics.append({"generation": 0})
    assert (run.path / "metrics.jsonl").read_text() == '{"generation":0}\n'


def test_versions_say_what_ran(run):
    assert run.versions["jax"] == jax.__version__
    assert run.versions["numpy"] == np.__version__
    assert run.versions["python"] == ".".join(map(str, sys.version_info[:3]))
    assert run.versions["device_count"] == jax.device_count()
    assert run.versions["device_kind"] == jax.devices()[0].device_kind
    assert {"jaxlib", "flax", "optax", "evosax", "gymnax", "metarl", "platform"} <= set(
        run.versions
    )
    commit = run.versions["git_commit"]
    assert commit is None or re.fullmatch(r"[0-9a-f]{40}(-dirty)?", commit)


def test_opening_gives_the_same_run(run):
    assert RunDirectory.open(str(run.path)) == run


def test_two_runs_of_one_second_have_two_folders(tmp_path):
    made = {RunDirectory.create(tmp_path, "lpo", {}).path for _ in range(3)}
    assert len(made) == 3


def test_an_exact_folder(tmp_path):
    out = tmp_path / "a" / "b"
    assert RunDirectory.create(tmp_path / "unused", "lpo", {}, out=out).path == out
    assert not (tmp_path / "unused").exists()
    with pytest.raises(RunError, match=f"is a run already. To continue it: metarl resume {out}"):
        RunDirectory.create(tmp_path, "lpo", {}, out=out)


def test_a_folder_of_other_files_is_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("x")
    with pytest.raises(RunError, match=r"neither empty nor a run: it holds thesis\.tex"):
        RunDirectory.create(tmp_path, "lpo", {}, out=tmp_path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_killed_creation_can_be_repeated(tmp_path, monkeypatch):
    class Killed(BaseException):
        pass

    write = runs.atomic_write_text
    for cut in range(4):  # writer.json, config.json, versions.json, run.json
        left = [cut]

        def cutting(path, text, left=left):
            if left[0] == 0:
                raise Killed
            left[0] -= 1
            return write(path, text)

        out = tmp_path / str(cut)
        with monkeypatch.context() as patch:
            patch.setattr(runs, "atomic_write_text", cutting)
            with pytest.raises(Killed):
                RunDirectory.create(tmp_path, "lpo", {"seed": 1}, out=out)
        with pytest.raises(RunError, match="is not a run directory"):
            RunDirectory.open(out)
        (out / ".config.json.0a1b.tmp").write_text("torn")
        RunDirectory.create(tmp_path, "lpo", {"seed": 2}, out=out)
        assert RunDirectory.open(out).config == {"seed": 2}


def test_a_missing_run_names_the_nearest(run):
    wrong = run.path.with_name(run.path.name[:-1] + "_")
    with pytest.raises(RunError, match=f"no run directory .*Did you mean '{run.path.name}'"):
        RunDirectory.open(wrong)
    with pytest.raises(RunError, match="is not a run directory"):
        RunDirectory.open(run.path.parent)


@pytest.mark.parametrize("name", ["config.json", "versions.json", "run.json"])
@pytest.mark.parametrize("text", [b"", b'{"a": 1', b"[1]", b'{"a": NaN}', b"\xff"])
def test_altered_json_is_named(run, name, text):
    (run.path / name).write_bytes(text)
    with pytest.raises(RunError, match=rf"{re.escape(name)} is (truncated or )?altered"):
        RunDirectory.open(run.path)


@pytest.mark.parametrize("name", ["config.json", "versions.json"])
def test_a_missing_file_is_named(run, name):
    (run.path / name).unlink()
    with pytest.raises(RunError, match=rf"{re.escape(name)}.*ENOENT"):
        RunDirectory.open(run.path)


def test_an_edited_config_is_refused(run):
    path = run.path / "config.json"
    path.write_text(path.read_text().replace("0.05", "0.06"))
    with pytest.raises(RunError, match=r"config\.json was altered since the run was created"):
        RunDirectory.open(run.path)


def test_a_run_of_another_format_is_refused(run):
    path = run.path / "run.json"
    path.write_text(path.read_text().replace('"format": 2', '"format": 9'))
    with pytest.raises(RunError, match="format 9"):
        RunDirectory.open(run.path)


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.EACCES])
def test_a_failing_disk_is_described(tmp_path, monkeypatch, code):
    def fail(*args, **kwargs):
        raise OSError(code, os.strerror(code))

    with monkeypatch.context() as patch:
        patch.setattr(atomic.os, "write", fail)
        with pytest.raises(RunError, match=errno.errorcode[code]):
            RunDirectory.create(tmp_path, "lpo", {})
    with monkeypatch.context() as patch:
        patch.setattr(runs.Path, "mkdir", fail)
        with pytest.raises(RunError, match=f"Cannot make the run directory at {tmp_path}"):
            RunDirectory.create(tmp_path, "lpo", {})


# ---- one writer


_HOLDER = """
import sys
from metarl.io.runs import RunDirectory

with RunDirectory.open(sys.argv[1]).lock():
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_second_process_is_refused_until_the_first_dies(run):
    child = subprocess.Popen(
        [sys.executable, "-c", _HOLDER, str(run.path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert child.stdout.readline() == "held\n"
        message = rf"{run.path} is being written by another process \(pid {child.pid}\)"
        for _ in range(2):  # asking does not break the lock
            with pytest.raises(RunError, match=message), run.lock():
                pass
        with pytest.raises(RunError, match="is a run already"):
            RunDirectory.create(run.path.parent, "lpo", {}, out=run.path)
        assert RunDirectory.open(run.path).metrics.rows() == []  # reading needs no lock
    finally:
        child.kill()
        child.communicate()
    with run.lock():
        pass


def test_the_lock_is_not_reentrant_and_is_released(run):
    with run.lock():
        with pytest.raises(RunError, match="locked by this process already"), run.lock():
            pass
        with pytest.raises(RunError), run.lock():
            pass
    with pytest.raises(KeyError), run.lock():
        raise KeyError
    with run.lock():
        pass


def test_a_lock_does_not_bring_a_deleted_folder_back(run, tmp_path):
    run.path.rename(tmp_path / "elsewhere")
    with pytest.raises(RunError, match="no run directory"), run.lock():
        pass
    assert not run.path.exists()


def test_importing_io_imports_no_orbax_and_starts_no_backend():
    program = """
import sys, metarl.io
from jax._src import xla_bridge
print("orbax" in sys.modules, xla_bridge.backends_are_initialized())
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout == "False False\n", done.stderr
