"""Runs that meta-train an update rule: interrupted, laid out otherwise, and used."""

import html
import json
import shlex
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from metarl.evaluation.results import load_results
from metarl.io.runs import RunDirectory
from metarl.rules import lpg_registry
from metarl.run import cli, experiments
from tests.problems.update_rule.tiny import EVOLVED, GENERATIONS, GRID, REPLAY, UNIFORM
from tests.run.tiny import (
    BANDIT,
    CATCH,
    artifact_bytes,
    build_once,
    check_same_meta_training,
    last_state,
    meta_train_in,
    results,
    rows,
    with_loop,
)


def words(config):
    """What makes this config on the command line."""
    return shlex.split(experiments.command_line(experiments.load("lpg"), config))[1:]


def new_run(path, config):
    return RunDirectory.create(path.parent, "lpg", experiments.to_json(config), path)


def observed(path):
    return (path / "observations.jsonl").read_text()


pytestmark = pytest.mark.slow
"""Whole runs; what they are made of is tested in other files by default."""


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Folder of a whole run of `REPLAY` by the command line."""
    out = tmp_path_factory.mktemp("lpg") / "run"
    assert cli.main([*words(REPLAY), "--out", str(out)]) == 0
    return out


@pytest.fixture
def copy(finished, tmp_path):
    shutil.copytree(finished, tmp_path / "copy")
    return RunDirectory.open(tmp_path / "copy")


def restored(path, config, step=None):
    """The state of a checkpoint, the newest unless a generation is named."""
    training = build_once(config)
    checkpoints = RunDirectory.open(path).checkpoints(GENERATIONS)
    if step is not None:
        checkpoints.delete_after(step)
    return checkpoints.latest(jax.eval_shape(training.init, training.key)).state


def test_theta_moves_and_levels_are_scored(finished):
    """Or no test here could tell one run from another."""
    training = build_once(REPLAY)
    last = restored(finished, REPLAY)
    for x, y in zip(*map(jax.tree.leaves, (training.theta_start(), last.theta)), strict=True):
        assert np.all(np.isfinite(y))
        assert np.any(x != y)
    assert len(set(rows(finished))) == GENERATIONS
    buffer = last.estimator_state.curriculum
    assert buffer.evaluated.sum() >= 2
    assert np.any(buffer.scores[buffer.evaluated] != 0)
    assert buffer.clock > 2  # lives ended, and others began
    assert np.all(buffer.in_use.sum() == 2)


def test_what_is_written_of_every_generation(finished):
    found = RunDirectory.open(finished).metrics.rows()
    for row, generation in zip(found, range(1, GENERATIONS + 1), strict=True):
        assert row["generation"] == generation
        assert row["gradient_norm"] > 0
        assert row["diverged"] == 0
        # Two lives, two updates and the exam, four steps of two environments.
        assert row["env_steps"] == generation * 2 * 3 * 8
        # An even policy over five actions has entropy log 5, and no other has more.
        assert 0 < row["policy_entropy"] <= np.log(5) + 1e-5
        assert row["value_error"] >= 0
    counts = [json.loads(line) for line in observed(finished).splitlines()]
    assert [row.pop("generation") for row in counts] == list(range(1, GENERATIONS + 1))
    assert all(set(row) == {"Rows", "Objects", "Horizon", "score"} for row in counts)
    # Every level that is evaluated is counted, and grids of this kind have 3 or 4 rows.
    evaluated = int(restored(finished, REPLAY).estimator_state.curriculum.evaluated.sum())
    assert {name: sum(x) for name, x in counts[-1].items()} == dict.fromkeys(counts[-1], evaluated)
    assert sum(counts[-1]["Rows"][:2]) == evaluated


@pytest.mark.parametrize("half", [0, 2])
def test_a_run_that_was_stopped_goes_on_to_the_same_bits(copy, finished, half):
    """The buffer of levels and its scores among them."""
    before = observed(copy.path)
    if half:
        copy.checkpoints(GENERATIONS).delete_after(half)
    else:
        shutil.rmtree(copy.checkpoints().folder)
    _, shown = meta_train_in(copy, REPLAY)
    assert ("resuming after generation 2" in shown) is (half == 2)
    check_same_meta_training(copy.path, finished, REPLAY)
    assert observed(copy.path) == before == observed(finished)


def test_the_buffer_is_part_of_what_comes_back(copy, finished):
    """What was in it at the checkpoint is carried to the end; another one would be too."""
    training = build_once(REPLAY)
    state = restored(copy.path, REPLAY, step=2)
    estimator_state = state.estimator_state
    curriculum = estimator_state.curriculum
    assert curriculum.evaluated.any()
    other = curriculum._replace(plays=curriculum.plays + 7)

    def end(curriculum):
        start = state._replace(estimator_state=estimator_state._replace(curriculum=curriculum))
        start = training.place(start)
        for generation in range(2, GENERATIONS):
            numbers = jnp.arange(generation, generation + 1)
            start, _ = training.advance(training.key, start, numbers)
        return [np.asarray(x).tobytes() for x in jax.tree.leaves(jax.device_get(start))]

    expected = last_state(finished, REPLAY)[1]
    assert end(curriculum) == expected
    assert end(other) != expected


def test_the_command_goes_on_and_ends_alike(copy, finished, capsys):
    copy.checkpoints(GENERATIONS).delete_after(2)
    (copy.path / "results.json").unlink()
    shutil.rmtree(copy.path / "artifacts")
    assert cli.main(["resume", str(copy.path)]) == 0
    shown = capsys.readouterr().out
    assert "resuming after generation 2" in shown
    assert "2 lifetimes of 3 updates a generation, 2 cpu device(s)" in shown
    check_same_meta_training(copy.path, finished, REPLAY)
    assert artifact_bytes(copy.path) == artifact_bytes(finished)
    assert results(copy.path) == results(finished)


def test_the_artifact_is_the_theta_with_a_card(finished):
    loaded = lpg_registry.load(finished / "artifacts" / "lpg-debug.safetensors")
    assert loaded.config == REPLAY.rule
    jax.tree.map(np.testing.assert_array_equal, loaded.theta, restored(finished, REPLAY).theta)
    found = {result.env: result for result in load_results(finished / "results.json")}
    assert set(loaded.card["scores"]) == set(found) == {GRID, BANDIT}
    for env, result in found.items():
        assert set(result.scores) == {"learned", "start", "a2c"}
        assert all(scores.shape == (2,) for scores in result.scores.values())
        assert result.held_out is (env == BANDIT)
    # The longest life, and what was asked for elsewhere.
    assert found[GRID].steps[-1] == 5 * 8
    assert found[BANDIT].steps[-1] == 1280


def test_the_report_shows_levels_and_no_drift(finished, capsys):
    report = finished / "report.html"
    report.unlink()
    assert cli.main(["report", str(finished)]) == 0
    assert capsys.readouterr().out == f"after generation {GENERATIONS}: {report}\n"
    page = html.unescape(report.read_text())
    assert experiments.command_line(experiments.load("lpg"), REPLAY) in page
    for title in ("Levels of training", "An episode", "How the distribution of levels moved"):
        assert title in page
    assert "Update rule: it replaces the loss of an agent" in page
    assert "lpg_registry.load(" in page
    assert "Drift over ratio" not in page
    figures = {path.stem for path in (finished / "figures").iterdir()}
    assert {"levels", "episode", "curriculum", "training", "scores"} <= figures
    assert "drift" not in figures


def test_the_artifact_is_an_algorithm_of_the_command_line(finished, capsys, tmp_path):
    artifact = str(finished / "artifacts" / "lpg-debug.safetensors")
    file = tmp_path / "results.json"
    line = ["eval", artifact, "a2c", "ppo", "--env", CATCH, "--seeds", "2", "--steps", "512"]
    assert cli.main([*line, "--json", str(file)]) == 0
    assert capsys.readouterr().out.startswith(f"{CATCH}: {artifact} ")
    (result,) = load_results(file)
    assert set(result.scores) == {artifact, "a2c", "ppo"}
    for scores in result.scores.values():
        assert scores.shape == (2,)
        assert np.all(np.abs(scores) <= 1)  # returns of Catch are 1 and -1


@pytest.fixture(scope="module")
def first():
    """State and logs after one outer step, two devices."""
    return _first(UNIFORM)


def _first(config):
    training = build_once(config)
    state, logs = training.advance(training.key, training.init(training.key), jnp.arange(1))
    return jax.device_get((state, logs))


@pytest.mark.slow
def test_another_layout_gives_the_same_lives(first):
    """One step, to rounding; the same levels and the same actions."""
    state, logs = first
    training = build_once(with_loop(UNIFORM, devices=1, chunk=1))
    assert (training.layout.devices, build_once(UNIFORM).layout.devices) == (1, 2)
    other, other_logs = _first(with_loop(UNIFORM, devices=1, chunk=1))
    # Rounding, 1e-7, through a few dozen products; another action would show in 1/8 of a mean.
    close = {"rtol": 1e-4, "atol": 1e-5}
    for x, y in zip(*map(jax.tree.leaves, (other_logs, logs)), strict=True):
        np.testing.assert_allclose(x, y, **close)
    lives, other_lives = state.estimator_state.unrolls, other.estimator_state.unrolls
    for x, y in zip(*map(jax.tree.leaves, (other_lives, lives)), strict=True):
        if np.issubdtype(x.dtype, np.floating):
            np.testing.assert_allclose(x, y, **close)
        else:
            np.testing.assert_array_equal(x, y)


def test_lives_are_as_long_as_their_tasks_say(first):
    state, _ = first
    lives = state.estimator_state.unrolls
    assert np.all((lives.task.lifetime >= 3) & (lives.task.lifetime <= 5))
    assert np.all(lives.end <= lives.task.lifetime)
    assert np.all(np.isin(lives.age, [0, 2]))


def test_without_a_curriculum_nothing_is_observed(first):
    assert build_once(UNIFORM).problem.observe(first[0]) == {}


@pytest.mark.slow
def test_evolution_over_whole_lives(tmp_path):
    run = new_run(tmp_path / "run", EVOLVED)
    theta, _ = meta_train_in(run, EVOLVED)
    found = run.metrics.rows()
    # Four members on two levels each, whole lives of at most five updates of eight steps.
    assert [row["env_steps"] for row in found] == [8 * 5 * 8, 2 * 8 * 5 * 8]
    assert any(row["gradient_norm"] > 0 for row in found)
    assert all(row["fitness_worst"] <= row["fitness_best"] for row in found)
    start = build_once(EVOLVED).theta_start()
    moved = jax.tree.map(lambda x, y: bool(np.any(x != y)), start, theta)
    assert any(jax.tree.leaves(moved))
    assert not (run.path / "observations.jsonl").exists()
    estimator = build_once(EVOLVED).problem.meta.estimator
    assert estimator.config == EVOLVED.es
    (unroll,) = estimator.unrolls
    assert (unroll.length, unroll.loss.last) == (5, 1.0)
