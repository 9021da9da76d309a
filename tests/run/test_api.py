"""`metarl.meta_train`, on a meta-loss whose descent has a closed form."""

import subprocess
import sys
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
import optax
import pytest

import metarl
from metarl.core.contracts import Estimate, Evaluation
from metarl.core.errors import ConfigError
from metarl.outer import EvosaxMetaOptimizer

START = {"x": jnp.array([1.0, -3.0])}


class Quadratic(NamedTuple):
    """The exact gradient of `0.5 |x|^2`."""

    def init(self, key, theta):
        return jnp.int32(0)

    def estimate(self, key, theta, state):
        loss = 0.5 * jnp.sum(theta["x"] ** 2)
        return Estimate(theta, loss[None], jnp.int32(0)), state + 1


def rounding(steps):
    """A step rounds a tenth of theta twice and theta once, each by at most half an eps."""
    return steps * np.finfo(np.float32).eps


def test_gradient_descent_is_the_closed_form():
    calls = []

    def callback(step, logs, theta):
        calls.append((step, logs.losses.shape, np.asarray(theta["x"])))

    theta = metarl.meta_train(
        START, Quadratic(), optax.sgd(0.1), steps=5, log_every=2, callback=callback
    )
    np.testing.assert_allclose(theta["x"], 0.9**5 * START["x"], rtol=rounding(5))
    assert [(step, shape) for step, shape, _ in calls] == [(2, (2, 1)), (4, (2, 1)), (5, (1, 1))]
    np.testing.assert_allclose(calls[0][2], 0.9**2 * START["x"], rtol=rounding(2))
    np.testing.assert_array_equal(calls[-1][2], theta["x"])


def test_a_callback_stops_it():
    theta = metarl.meta_train(
        START, Quadratic(), optax.sgd(0.1), steps=100, callback=lambda step, *_: step == 3
    )
    np.testing.assert_allclose(theta["x"], 0.9**3 * START["x"], rtol=rounding(3))


def test_an_evosax_strategy_needs_no_optimizer():
    def score(key, thetas):
        return Evaluation(0.5 * jnp.sum(thetas["x"] ** 2, axis=1)[None])

    strategy = EvosaxMetaOptimizer("SNES", 16, score, std=0.5)
    theta = metarl.meta_train(START, strategy, steps=40, log_every=40)
    assert np.linalg.norm(theta["x"]) < 0.5 < np.linalg.norm(START["x"])


def test_what_does_not_fit_is_refused():
    with pytest.raises(ConfigError, match=r"Quadratic estimates a gradient.*optax\.adam"):
        metarl.meta_train(START, Quadratic(), steps=1)
    strategy = EvosaxMetaOptimizer("SNES", 4, lambda key, thetas: None)
    with pytest.raises(ConfigError, match="the optimizer would be ignored"):
        metarl.meta_train(START, strategy, optax.sgd(0.1), steps=1)
    with pytest.raises(ConfigError, match="steps must be positive"):
        metarl.meta_train(START, Quadratic(), optax.sgd(0.1), steps=0)


def test_the_package_is_imported_lazily():
    code = "import sys, metarl; print('jax' in sys.modules, 'meta_train' in metarl.__all__)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "True"]
