from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from metarl.core.contracts import Estimate
from metarl.outer.gradient import GradientMetaOptimizer

TARGET = jnp.array([1.0, -2.0])


@dataclass(frozen=True)
class Exact:
    """An estimator with the exact gradient of `|theta - target|^2 / 2`; counts its calls."""

    scale: Any = 1.0

    def init(self, key, theta):
        return 0

    def estimate(self, key, theta, state):
        gap = theta["x"] - TARGET
        losses = jnp.full(4, 0.5 * gap @ gap)
        return Estimate({"x": self.scale * gap, "unused": 0.0}, losses, jnp.int32(0)), state + 1


def run(optimizer, theta, steps):
    state = optimizer.init(jax.random.key(0), theta)
    keys = jax.random.split(jax.random.key(1), steps)
    return jax.jit(lambda s: jax.lax.scan(lambda s, k: optimizer.step(k, s), s, keys))(state)


def test_it_is_gradient_descent():
    # Python numbers among theta and the estimator's state must not upset the scan.
    theta = {"x": jnp.array([3.0, 3.0]), "unused": 0.5}
    optimizer = GradientMetaOptimizer(Exact(), optax.sgd(0.1))
    state, log = run(optimizer, theta, 10)
    gap = 0.9**10 * np.array([2.0, 5.0])
    # Ten steps of numbers up to 7, whose rounding counts beside gaps of 0.7: 10 * 7 / 0.7 * 6e-8.
    np.testing.assert_allclose(optimizer.theta(state)["x"] - TARGET, gap, rtol=1e-5)
    assert optimizer.theta(state)["unused"] == 0.5
    assert state.estimator_state == 10
    np.testing.assert_allclose(log.gradient_norm, 0.9 ** np.arange(10) * np.sqrt(29), rtol=1e-5)
    np.testing.assert_allclose(log.update_norm, 0.1 * log.gradient_norm, rtol=1e-5)
    assert log.losses.shape == (10, 4)


@pytest.mark.parametrize("tx", [optax.adam(0.3), optax.sgd(0.3, momentum=0.5), optax.adamw(0.3)])
def test_any_transformation_reaches_the_minimum(tx):
    state, _ = run(GradientMetaOptimizer(Exact(), tx), {"x": jnp.zeros(2), "unused": 0.0}, 300)
    # From 5 away at the start; adamw's decay of 1e-4 moves the minimum by about that.
    np.testing.assert_allclose(state.theta["x"], TARGET, atol=1e-2)


@pytest.mark.parametrize("bad", [jnp.nan, jnp.inf])
def test_a_gradient_that_is_not_finite_is_logged_and_replaced_by_zero(bad):
    theta = {"x": jnp.array([3.0, 3.0]), "unused": 0.5}
    state, log = run(GradientMetaOptimizer(Exact(bad), optax.adam(0.1)), theta, 3)
    np.testing.assert_array_equal(state.theta["x"], [3.0, 3.0])
    assert not np.any(np.isfinite(log.gradient_norm))
