"""Runs that meta-train an optimizer: what they leave, resumed, refused, and learning."""

import html
import json
import shlex
import shutil
import sys
from dataclasses import replace

import jax
import numpy as np
import pytest

from metarl.core.errors import ConfigError
from metarl.core.mesh import Layout
from metarl.estimators.antithetic import AntitheticTruncatedESConfig
from metarl.estimators.full_es import FullES, FullESConfig
from metarl.estimators.mean_estimator import MeanEstimator
from metarl.estimators.noise_reuse_es import NoiseReuseES
from metarl.estimators.pes import PES
from metarl.estimators.truncated_backprop import TruncatedBackprop, TruncatedBackpropConfig
from metarl.estimators.truncated_es import TruncatedES
from metarl.evaluation.results import load_results
from metarl.io.runs import RunDirectory
from metarl.problems.config import LoopConfig, OuterConfig
from metarl.problems.optimizer.architectures import ArchitectureConfig
from metarl.problems.optimizer.build import optimizer_problem
from metarl.problems.optimizer.config import (
    MetaLossConfig,
    OptimizerEvaluationConfig,
    TrainingTasksConfig,
    TrainOptimizerConfig,
)
from metarl.run import cli, experiments
from tests.problems.optimizer.tiny import FAMILY, GENERATIONS, TINY
from tests.run.tiny import artifact_bytes, build_once, check_same_meta_training, meta_train_in


def words(config):
    """What makes this config on the command line."""
    line = experiments.command_line(experiments.load("learned-optimizer"), config)
    return shlex.split(line)[1:]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Folder of a whole run of `TINY` by the command line."""
    out = tmp_path_factory.mktemp("optimizer") / "run"
    assert cli.main([*words(TINY), "--out", str(out)]) == 0
    return out


def observed(path):
    return [json.loads(line) for line in (path / "observations.jsonl").read_text().splitlines()]


@pytest.mark.parametrize(
    ("kind", "kernels"), [("mlp_lopt", {"lopt_update": "cpu_blocks"}), ("learnable_sgd", {})]
)
def test_the_kernels_of_a_run_are_known(kind, kernels):
    config = replace(TINY, optimizer=ArchitectureConfig(kind=kind))
    assert optimizer_problem(config, Layout(1)).kernels == kernels


def test_theta_moves(finished):
    """Or no test here could tell one run from another."""
    training = build_once(TINY)
    run = RunDirectory.open(finished)
    template = jax.eval_shape(training.init, training.key)
    last = run.checkpoints().latest(template).state.theta
    for x, y in zip(*map(jax.tree.leaves, (training.theta_start(), last)), strict=True):
        assert np.all(np.isfinite(y))
        assert np.any(x != y)


def test_what_a_run_leaves(finished):
    rows = RunDirectory.open(finished).metrics.rows()
    # Four lives in pairs, two updates each.
    assert [row["inner_updates"] for row in rows] == [16, 32, 48, 64]
    assert all(row["gradient_norm"] > 0 for row in rows)
    assert all(row["meta_loss"] == pytest.approx(-row["fitness_mean"]) for row in rows)
    seen = observed(finished)
    assert [row["generation"] for row in seen] == [2, 4]
    assert all(set(row["validation"][FAMILY]) == {"last", "mean"} for row in seen)
    assert seen[0]["validation"] != seen[1]["validation"]
    (result,) = load_results(finished / "results.json")
    assert result.rules == ("learned", "start", "adam")
    assert (result.env, result.measure, result.held_out) == (FAMILY, "training_loss", False)
    assert set(result.further) == {"held_out_loss", "speedup"}
    assert all(x.size == 3 for x in result.scores.values())


def test_the_report_has_the_pictures(finished):
    names = {path.stem for path in (finished / "figures").glob("*.png")}
    assert {"training", "learning_curves", "scores", "tasks", "updates", "validation"} <= names
    page = html.unescape((finished / "report.html").read_text())
    for text in (
        "The learned optimizer",
        "Speed-up",
        "The update against the gradient",
        "Held-out tasks during meta-training",
        "metarl score",
        "metarl run learned-optimizer",
    ):
        assert text in page
    card = json.loads(next((finished / "artifacts").glob("*.json")).read_text())
    assert card["scores"][FAMILY]["updates"] == 4
    assert set(card["scores"][FAMILY]["speedup"]) == {"learned", "start", "adam"}


@pytest.mark.parametrize("half", [0, 2])
def test_a_run_that_was_stopped_goes_on_to_the_same_bits(finished, tmp_path, half):
    """As a kill leaves it: without the later checkpoints and artifacts."""
    shutil.copytree(finished, tmp_path / "copy")
    run = RunDirectory.open(tmp_path / "copy")
    if half:
        run.checkpoints(GENERATIONS).delete_after(half)
    else:
        shutil.rmtree(run.checkpoints().folder)
    _, shown = meta_train_in(run, TINY)
    assert ("resuming after generation 2" in shown) is (half == 2)
    check_same_meta_training(run.path, finished, TINY)
    assert observed(run.path) == observed(finished)
    if half:
        shutil.rmtree(run.path / "artifacts")
        assert cli.main(["resume", str(run.path)]) == 0
        assert artifact_bytes(run.path) == artifact_bytes(finished)


@pytest.mark.parametrize(
    ("method", "estimator"),
    [
        ("pes", PES),
        ("truncated_es", TruncatedES),
        ("noise_reuse", NoiseReuseES),
        ("backprop", TruncatedBackprop),
        ("es", FullES),
    ],
)
def test_where_the_gradient_comes_from(method, estimator):
    config = replace(
        TINY,
        method=method,
        tasks=replace(TINY.tasks, lifetime=(8, 8)),
        es=FullESConfig(population=2),
        backprop=TruncatedBackpropConfig(num_parallel=3),
    )
    problem = optimizer_problem(config, Layout(1))
    assert isinstance(problem.meta.estimator, estimator)
    state = jax.eval_shape(problem.meta.init, jax.random.key(0), problem.init(jax.random.key(0)))
    _, log = jax.eval_shape(problem.meta.step, jax.random.key(0), state)
    assert log.losses.shape == (config.lifetimes,)
    assert config.updates == (8 if method == "es" else 2)


def test_several_families_have_lives_of_their_own():
    families = (FAMILY, "quadratic?dimension=3")
    config = replace(TINY, tasks=replace(TINY.tasks, families=families))
    problem = optimizer_problem(config, Layout(1))
    assert isinstance(problem.meta.estimator, MeanEstimator)
    state = jax.eval_shape(problem.meta.init, jax.random.key(0), problem.init(jax.random.key(0)))
    _, log = jax.eval_shape(problem.meta.step, jax.random.key(0), state)
    assert log.losses.shape == (config.lifetimes,) == (16,)
    assert log.unroll_losses.shape == (2, 8)


def test_what_was_never_seen_is_told():
    evaluation = replace(
        TINY.evaluation, families=("quadratic?dimension=5", FAMILY), horizons=(2.0, 4.0)
    )
    problem = optimizer_problem(replace(TINY, evaluation=evaluation), Layout(1))
    found = {entry.name: (entry.held_out, entry.trial.steps) for entry in problem.comparisons}
    # Lives of meta-training have up to 8 updates.
    assert found == {
        FAMILY: (False, 4),
        f"{FAMILY} 2x": (False, 8),
        f"{FAMILY} 4x": (True, 16),
        "quadratic?dimension=5": (True, 4),
    }


@pytest.mark.parametrize(
    ("method", "reduce", "data"),
    [
        ("pes", "mean", "batch"),
        ("noise_reuse", "final", "held_out"),
        ("truncated_es", "last", "fresh"),
    ],
)
@pytest.mark.slow
def test_it_learns(method, reduce, data):
    """The step size of gradient descent rises from far too small: tasks have curvature 1."""
    config = replace(
        TINY,
        method=method,
        meta_loss=MetaLossConfig(2, reduce, data),
        tasks=TrainingTasksConfig(
            families=("quadratic?dimension=2&condition=1&curvature=1",), lifetime=(8, 8)
        ),
        pairs=AntitheticTruncatedESConfig(num_parallel=8, sigma=0.1),
        outer=OuterConfig(generations=60, learning_rate=0.1),
        loop=LoopConfig(log_every=60, checkpoint_every=60),
    )
    training = build_once(config)
    state = training.init(training.key)
    _, logs = training.advance(training.key, state, np.arange(60))
    losses = np.asarray(logs.summary["loss"]).reshape(60, -1).mean(axis=1)
    assert losses[-10:].mean() < 0.5 * losses[:10].mean()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (["--tasks.families", "quadratik"], "Did you mean 'quadratic'"),
        (["--tasks.families", "quadratic?dimensions=2"], "Did you mean 'dimension'"),
        (["--tasks.families", FAMILY, FAMILY], "more than once"),
        (["--tasks.lifetime", "8", "4"], "before it begins"),
        (["--meta-loss.truncation", "1000"], "longer than the longest training"),
        (["--method", "es", "--tasks.lifetime", "2", "9"], "which must be of one length"),
        (["--evaluation.trial.baselines", "adm"], "Did you mean 'adam'"),
        (["--outer.optimizer", "adm"], "Did you mean 'adam'"),
        (["--outer.warm-up", "-1"], "warm_up must lie"),
    ],
)
def test_bad_settings_are_refused(changes, message, tmp_path, capsys):
    with pytest.raises(SystemExit) as stopped:
        sys.exit(cli.main([*words(TINY), "--out", str(tmp_path / "run"), *changes]))
    assert stopped.value.code in (1, 2)
    told = capsys.readouterr()
    assert message in told.err.splitlines()[-1]
    assert not (tmp_path / "run").exists()


def test_a_misspelt_setting_is_answered_with_the_nearest(tmp_path, capsys):
    arguments = [
        "run",
        "learned-optimizer",
        "--out",
        str(tmp_path / "run"),
        "--pairs.num-paralel",
        "3",
    ]
    assert cli.main(arguments) == 2
    assert "Did you mean '--pairs.num-parallel'?" in capsys.readouterr().err


def test_every_preset_is_read_back_as_it_was():
    for preset in experiments.load("learned-optimizer").presets.values():
        data = json.loads(json.dumps(experiments.to_json(preset)))
        assert experiments.from_json(data, TrainOptimizerConfig) == preset


def test_bad_configs():
    for make, message in (
        (lambda: TrainingTasksConfig(families=()), "families is empty"),
        (lambda: MetaLossConfig(truncation=0), "truncation must be positive"),
        (lambda: OptimizerEvaluationConfig(horizons=(0.0,)), "horizon must be positive"),
        (lambda: replace(TINY, seed=-1), "seed must lie"),
    ):
        with pytest.raises(ConfigError, match=message):
            make()
