"""Mean of several estimators."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from metarl.core.contracts import Estimate
from metarl.core.errors import ConfigError
from metarl.estimators.mean_estimator import MeanEstimator


class _Linear:
    """Estimates a gradient `slope`, whatever theta; counts its calls and draws a number."""

    def __init__(self, slope):
        self.slope = slope

    def init(self, key, theta):
        return {"calls": jnp.int32(0), "first": jax.random.uniform(key)}

    def estimate(self, key, theta, state):
        losses = jnp.array([self.slope, jnp.sum(theta)])
        noise = {"drawn": jax.random.uniform(key, (1,))}
        gradient = jnp.full_like(theta, self.slope)
        estimate = Estimate(gradient, losses, jnp.int32(1), losses[None], noise)
        return estimate, {**state, "calls": state["calls"] + 1}


def test_the_mean_of_gradients_and_all_losses(key):
    estimator = MeanEstimator((_Linear(1.0), _Linear(4.0), _Linear(10.0)))
    theta = jnp.array([1.0, 2.0])
    state = estimator.init(key, theta)
    estimate, state = estimator.estimate(key, theta, state)
    np.testing.assert_array_equal(estimate.gradient, [5.0, 5.0])
    np.testing.assert_array_equal(estimate.losses, [1, 3, 4, 3, 10, 3])
    np.testing.assert_array_equal(estimate.unroll_losses, [[1, 3], [4, 3], [10, 3]])
    assert estimate.diverged == 3
    # Each has a state and random numbers of its own.
    assert [int(entry["calls"]) for entry in state] == [1, 1, 1]
    assert len({float(entry["first"]) for entry in state}) == 3
    assert len(set(np.asarray(estimate.summary["drawn"]).tolist())) == 3


def test_none_is_refused():
    with pytest.raises(ConfigError, match="at least one"):
        MeanEstimator(())
