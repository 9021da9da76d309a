"""The outer loop on disk: resumed, damaged, out of space, diverging."""

import errno
import os
import shutil
from dataclasses import replace
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from metarl.core.errors import CheckpointError, RunError
from metarl.envs import Box, Discrete, Environment, Step, registry
from metarl.io import metrics, orbax_folder
from metarl.io.runs import RunDirectory
from metarl.run import cli

from .tiny import (
    TINY,
    arguments,
    build_once,
    check_same_meta_training,
    last_state,
    meta_train_in,
    new_run,
    rows,
    with_loop,
)


@pytest.fixture
def copy(finished, tmp_path):
    """A copy of the finished run, whose evolution may be undone."""
    shutil.copytree(finished, tmp_path / "copy")
    return RunDirectory.open(tmp_path / "copy")


def _data_files(run, step):
    folder = run.path / "checkpoints" / str(step)
    return sorted(p for p in folder.rglob("d/*") if p.is_file())


def _truncate(run, step):
    for path in _data_files(run, step):
        path.write_bytes(path.read_bytes()[:-7])


def _alter(run, step):
    for path in _data_files(run, step):
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.write_bytes(bytes(data))


def _cut_manifest(run, step):
    path = run.path / "checkpoints" / str(step) / "manifest.json"
    path.write_text(path.read_text()[:-20])


def test_theta_moves(finished):
    """Or no test here could tell one run from another."""
    training = build_once(TINY)
    start = jax.tree.leaves(jax.device_get(training.init(training.key)))
    _, last = last_state(finished)
    assert all(np.asarray(x).tobytes() != y for x, y in zip(start, last, strict=True))
    assert len(set(rows(finished))) == TINY.outer.generations


@pytest.mark.parametrize("damage", [_truncate, _alter, _cut_manifest])
def test_a_damaged_checkpoint_is_named_and_the_one_before_it_used(copy, finished, damage):
    damage(copy, 6)
    _, shown = meta_train_in(copy)
    assert "skipped: checkpoint 6 is truncated or altered" in shown
    assert "resuming after generation 5" in shown
    assert "generation 6/6" in shown
    assert "generation 5/6" not in shown
    check_same_meta_training(copy.path, finished)


def test_the_command_says_so_and_ends_alike(copy, finished, capsys):
    _truncate(copy, 6)
    assert cli.main(["resume", str(copy.path)]) == 0
    shown = capsys.readouterr().out
    assert "skipped: checkpoint 6 is truncated or altered" in shown
    check_same_meta_training(copy.path, finished)


def test_when_every_checkpoint_is_damaged_all_are_named(copy, capsys):
    before = rows(copy.path)
    _truncate(copy, 5)
    _alter(copy, 6)
    with pytest.raises(CheckpointError, match=r"No checkpoint in .*checkpoint 6 .*checkpoint 5 "):
        meta_train_in(copy)
    assert cli.main(["resume", str(copy.path)]) == 1
    shown = capsys.readouterr().err
    assert f"metarl: No checkpoint in {copy.checkpoints().folder} can be used" in shown
    # Nothing was thrown away that a person might still save.
    assert rows(copy.path) == before
    assert copy.checkpoints().steps() == [5, 6]


def test_without_checkpoints_a_run_starts_again(copy, finished):
    shutil.rmtree(copy.checkpoints().folder)
    meta_train_in(copy)
    check_same_meta_training(copy.path, finished)


def test_seconds_count_on_over_a_resume(copy):
    before = [row["seconds"] for row in copy.metrics.rows()]
    copy.checkpoints().delete_after(5)
    meta_train_in(copy)
    after = [row["seconds"] for row in copy.metrics.rows()]
    assert after[:5] == before[:5]
    assert after[5] > after[4]


@pytest.mark.slow
def test_two_generations_a_look_agree_with_one(finished, tmp_path):
    """To rounding: another program may order its sums otherwise; five steps amplify that little."""
    config = with_loop(log_every=2, checkpoint_every=2)
    run = new_run(tmp_path / "run", config)
    _, shown = meta_train_in(run, config)
    assert [line.split()[1] for line in shown.splitlines() if line.startswith("generation")] == [
        f"{n}/6" for n in range(1, 7)
    ]
    expected = RunDirectory.open(finished).metrics.rows()
    for found, row in zip(run.metrics.rows(), expected, strict=True):
        assert found.keys() == row.keys()
        for name in row.keys() - {"seconds"}:
            np.testing.assert_allclose(found[name], row[name], rtol=1e-4, err_msg=name)


def _no_space(*_):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _metrics_fill_the_disk(patch):
    write_all, written = metrics.write_all, []

    def write(descriptor, data):
        written.append(data)
        if len(written) > 2:
            os.write(descriptor, data[:10])
            _no_space()
        write_all(descriptor, data)

    patch.setattr(metrics, "write_all", write)


def _checkpoints_fill_the_disk(patch):
    disk_usage, asked = orbax_folder.shutil.disk_usage, []

    def usage(path):
        asked.append(path)
        return SimpleNamespace(free=0) if len(asked) > 2 else disk_usage(path)

    patch.setattr(orbax_folder.shutil, "disk_usage", usage)


@pytest.mark.parametrize("fill", [_metrics_fill_the_disk, _checkpoints_fill_the_disk])
def test_a_full_disk_is_told_and_nothing_is_lost(finished, tmp_path, capsys, fill):
    run = new_run(tmp_path / "run")
    with pytest.MonkeyPatch.context() as patch:
        fill(patch)
        assert cli.main(["resume", str(run.path)]) == 1
    shown = capsys.readouterr().err
    assert f"go on with: metarl resume {run.path}" in shown
    assert f"at {run.path}" in shown or f"in {run.path}" in shown
    assert "No space left on device (ENOSPC)" in shown
    assert "Traceback" not in shown
    _, shown = meta_train_in(run)
    assert "resuming after generation 2" in shown
    check_same_meta_training(run.path, finished)


def test_a_folder_that_is_closed_to_us(tmp_path, monkeypatch, capsys):
    def refuse(path, *_, **__):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))

    monkeypatch.setattr(os, "mkdir", refuse)
    out = tmp_path / "run"
    assert cli.main([*arguments(), "--out", str(out)]) == 1
    assert (
        f"metarl: Cannot make the run directory at {out}: Read-only file system (EROFS). Choose a "
        "writable folder" in capsys.readouterr().err
    )


def _broken_env(share):
    """One-step episodes, reward 1, but not a number in a share of them."""

    def make(name):
        def reset(key, params):
            lot = jax.random.uniform(key)
            return jnp.zeros(1), lot

        def transition(draws, state, action, params):
            reward = jnp.where(state < share, jnp.nan, 1.0)
            yes = jnp.bool_(True)
            return Step(jnp.zeros(1), state, reward, yes, ~yes, {})

        return Environment(
            f"toy/{name}", reset, transition, Box(0.0, 1.0, (1,)), Discrete(2), default_params={}
        )

    return make


@pytest.fixture
def toys(monkeypatch):
    """`toy/some`: 2% of the rewards are NaN; `toy/all`: all are."""
    makers = {"some": _broken_env(0.02), "all": _broken_env(1.1)}
    adapter = SimpleNamespace(NAMES=tuple(makers), make=lambda name: makers[name](name))
    monkeypatch.setitem(registry._ADAPTERS, "toy", adapter)


def test_members_that_diverge_are_counted_and_the_run_goes_on(toys, tmp_path):
    """A lifetime of 96 one-step episodes is free of NaN with probability 0.98^96 = 0.14."""
    config = replace(TINY, task=replace(TINY.task, envs=("toy/some",)))
    run = new_run(tmp_path / "run", config)
    theta, shown = meta_train_in(run, config)
    found = run.metrics.rows()
    assert len(found) == TINY.outer.generations
    counts = [row["diverged"] for row in found]
    assert any(0 < count < 4 for count in counts)
    for row in found:
        # The worst finite member, whose every episode returned 1; 0 where there was none at all.
        assert row["fitness_worst"] == (1.0 if row["diverged"] < 4 else 0.0)
        assert np.isfinite(row["gradient_norm"])
    assert all(np.all(np.isfinite(x)) for x in jax.tree.leaves(theta))
    for generation, count in enumerate(counts, start=1):
        (line,) = (x for x in shown.splitlines() if x.startswith(f"generation {generation}/"))
        assert (f"diverged {count}" in line) is (count > 0)


@pytest.mark.slow
def test_a_run_in_which_everything_diverges_ends_with_a_report(toys, tmp_path, capsys):
    config = replace(
        TINY,
        task=replace(TINY.task, envs=("toy/all",)),
        evaluation=replace(TINY.evaluation, envs=()),
    )
    run = new_run(tmp_path / "run", config)
    assert cli.main(["resume", str(run.path)]) == 0
    assert "toy/all: learned no finite score" in capsys.readouterr().out
    assert "There is no verdict" in (run.path / "report.html").read_text()
    assert [row["diverged"] for row in run.metrics.rows()] == [4] * 6


def test_a_run_without_a_checkpoint_has_no_report(tmp_path, capsys):
    run = new_run(tmp_path / "run")
    assert cli.main(["report", str(run.path)]) == 1
    assert f"{run.path} has no checkpoint yet: `metarl resume" in capsys.readouterr().err


def test_one_process_writes_a_run(tmp_path, capsys):
    run = new_run(tmp_path / "run")
    with run.lock():
        with pytest.raises(RunError, match="is locked by this process"):
            meta_train_in(run)
        assert cli.main(["resume", str(run.path)]) == 1
    assert "go on with" not in capsys.readouterr().err
