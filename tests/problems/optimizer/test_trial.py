"""Optimizers against tuned baselines, on tasks whose losses are known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from metarl.core.errors import ConfigError
from metarl.core.mesh import Layout
from metarl.problems.optimizer.baselines import BASELINES, MOMENTUM, baseline
from metarl.problems.optimizer.trial import (
    OptimizerCandidate,
    TrialConfig,
    compare_optimizers,
    run_grid,
)

from .toy_family import DESCENT, TOY

RATES = (0.003, 0.1, 50.0)
TRIAL = TrialConfig(steps=8, tasks=3, seeds=2, baselines=("sgd",), rates=RATES, reach=3, points=4)
KEY = jax.random.key(1)


@pytest.fixture(scope="module")
def grid():
    return run_grid(TOY, TRIAL, KEY, Layout(1))


@pytest.fixture(scope="module")
def result():
    candidates = {
        "learned": OptimizerCandidate(DESCENT, jnp.float32(0.2)),
        "start": OptimizerCandidate(DESCENT, jnp.float32(1e4)),
    }
    return compare_optimizers(TOY, candidates, TRIAL, KEY, held_out=True)


def _heavy_ball(c, start, rate, steps):
    """Losses after 0, 1, ..., steps updates from a loss, in float64."""
    x, velocity, losses = np.sqrt(2 * start / c), 0.0, [start]
    for _ in range(steps):
        velocity = MOMENTUM * velocity + c * x
        x = x - rate * velocity
        losses.append(0.5 * c * x**2)
    return np.array(losses)


def _expected(grid, rate):
    """Losses of SGD with momentum, `[N, S, 25]`."""
    curves = grid.curves["sgd"]
    start = curves.training[0, ..., 0]
    c = start / curves.training_scaled[0, ..., 0]
    return np.array(
        [[_heavy_ball(c[n, s], start[n, s], rate, 24) for s in range(2)] for n in range(3)]
    )


def test_baselines_are_looked_at_beyond_the_trial(grid):
    curves = grid.curves["sgd"]
    np.testing.assert_array_equal(curves.steps, [0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24])
    for i, rate in enumerate(RATES[:2]):
        # Rounding of float32 in 24 updates, relative to where they began.
        scale = curves.training[0, ..., :1]
        expected = _expected(grid, rate)[..., ::2]
        np.testing.assert_allclose(curves.training[i] / scale, expected / scale, atol=3e-6)


def test_the_best_rate_and_the_envelopes(grid):
    # 50 diverges, and of the others 0.1 is lower after 8 updates (look number 4).
    assert grid.best("sgd", 5) == 1
    for n, envelope in enumerate(grid.envelopes()):
        losses = np.stack([_expected(grid, rate)[n, :, ::2] for rate in RATES[:2]])
        lowest = [losses[..., : k + 1].min() for k in range(13)]
        np.testing.assert_allclose(envelope.losses, lowest, atol=1e-5)
    smooth = grid.envelopes(ema=0.5)
    assert smooth[0].losses[0] == grid.envelopes()[0].losses[0]
    assert smooth[0].losses[-1] > grid.envelopes()[0].losses[-1]


def test_everyone_is_compared_task_by_task(grid, result):
    assert result.rules == ("learned", "start", "sgd")
    assert result.held_out
    assert result.env == "toy"
    assert result.settings["rates"] == {"sgd": 0.1}
    np.testing.assert_array_equal(result.steps, [0, 2, 4, 6, 8])
    curves = grid.curves["sgd"]
    c = curves.training[0, ..., 0] / curves.training_scaled[0, ..., 0]
    learned = (curves.training_scaled[0, ..., :1]) * (1 - 0.2 * c[..., None]) ** (2 * result.steps)
    # Means over two networks a task.
    np.testing.assert_allclose(result.curves["learned"], learned.mean(axis=1), rtol=1e-5)
    np.testing.assert_array_equal(result.scores["learned"], result.curves["learned"][:, -1])
    tuned = curves.training_scaled[1, ..., 4].mean(axis=1)
    np.testing.assert_allclose(result.scores["sgd"], tuned, rtol=1e-6)
    assert result.random_score == pytest.approx(curves.training_scaled[0, ..., 0].mean())
    # A rate of 10000 multiplies x by 5000 and more each time: 8 updates overflow float32.
    assert result.diverged == {"learned": 0, "start": 3, "sgd": 0}
    assert np.isnan(result.scores["start"]).all()


def test_speedups_are_those_against_each_tasks_envelope(grid, result):
    curves, speed = grid.curves["sgd"], result.of("speedup")
    c = curves.training[0, ..., 0] / curves.training_scaled[0, ..., 0]
    learned = curves.training[0, ..., 0] * (1 - 0.2 * c) ** 16
    expected, every = [], np.linspace(0, 24, 240_001)
    for n, envelope in enumerate(grid.envelopes()):
        losses = np.interp(every, envelope.steps, envelope.losses)
        expected.append(np.mean([every[np.argmax(losses <= x)] for x in learned[n]]) / 8)
    np.testing.assert_allclose(speed.scores["learned"], expected, rtol=1e-3)
    np.testing.assert_array_equal(speed.scores["start"], 0.0)
    assert result.settings["speedups_at_an_end_of_the_envelope"]["start"] == 6
    assert np.isnan(speed.curves["learned"][:, 0]).all()  # no update, no speed
    # The envelope is as low as anything it is made of.
    assert (speed.scores["sgd"] <= 1 + 1e-6).all()


def test_every_baseline_takes_its_rate_as_data():
    for name in BASELINES:
        optimizer = baseline(name)
        params, gradient = {"x": jnp.ones(3)}, {"x": jnp.array([1.0, -2.0, 3.0])}

        def first(rate, optimizer=optimizer, params=params, gradient=gradient):
            tx = optimizer.transformation(rate, (), jnp.int32(10))
            return tx.update(gradient, tx.init(params), params)[0]["x"]

        once, twice = jax.vmap(first)(jnp.array([0.1, 0.2]))
        # The first step of each is proportional to the rate, and downhill.
        np.testing.assert_allclose(twice, 2 * once, rtol=1e-6)
        assert (np.sign(once) == [-1, 1, -1]).all()
    with pytest.raises(ConfigError, match="Did you mean 'adam'"):
        baseline("adm")


def test_the_cosine_ends_at_zero():
    tx = baseline("adamw-cosine").transformation(jnp.float32(0.1), (), 4)
    params, state, moved = {"x": jnp.zeros(())}, None, []
    state = tx.init(params)
    for _ in range(6):
        updates, state = tx.update({"x": jnp.ones(())}, state, params)
        moved.append(-float(updates["x"]))
    # Adam's step on a constant gradient is the rate: 0.1 (1 + cos(pi n / 4)) / 2.
    expected = [0.05 * (1 + np.cos(np.pi * min(n / 4, 1))) for n in range(6)]
    np.testing.assert_allclose(moved, expected, atol=1e-6)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"baselines": ("adm",)}, "Did you mean 'adam'"),
        ({"rates": ()}, "rates is empty"),
        ({"rates": (0.1, -1.0)}, r"rates\[1\] must be positive"),
        ({"steps": 0}, "steps must be positive"),
        ({"tasks": 0}, "tasks must be positive"),
    ],
)
def test_bad_settings_are_refused(changes, message):
    with pytest.raises(ConfigError, match=message):
        TrialConfig(**changes)


def test_nothing_to_compare_and_names_twice():
    with pytest.raises(ConfigError, match="no optimizer was given"):
        compare_optimizers(TOY, {}, TrialConfig(baselines=()), KEY)
    with pytest.raises(ConfigError, match="'adam' is a baseline and a candidate"):
        compare_optimizers(TOY, {"adam": OptimizerCandidate(DESCENT)}, TrialConfig(), KEY)
