"""Truncated backpropagation on a learner whose meta-gradient is known in closed form."""

from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from metarl.core.contracts import Truncation
from metarl.core.errors import ConfigError
from metarl.core.mesh import Layout, make_mesh, on_mesh
from metarl.estimators.truncated_backprop import TruncatedBackprop, TruncatedBackpropConfig

from .toys import GradientDescent

N, K, LIFETIME = 6, 3, 7
THETA = 0.2


@dataclass(frozen=True)
class Recorder:
    """Draws tasks `1, 2, 3, ...` in order and records all reports."""

    tasks: Any = field(default=None)

    def init(self, key):
        return {"next": jnp.float32(1), "reports": jnp.int32(0), "total": jnp.float32(0)}

    def draw(self, key, state, wanted):
        number = state["next"] + jnp.cumsum(wanted) - wanted
        return number, jnp.int32(number), {**state, "next": state["next"] + jnp.sum(wanted)}

    def report(self, state, slots, scores, ended):
        return {
            **state,
            "reports": state["reports"] + jnp.sum(ended),
            "total": state["total"] + jnp.sum(jnp.where(ended, scores, 0.0)),
        }


def meta_loss(key, theta, task, state, logs):
    """The last loss, twice: through the state and through the logs."""
    del key, theta
    return 0.5 * (state - task) ** 2 + logs[-1], state, {"distance": jnp.abs(state - task)}


def estimator(layout=None, score=None, **settings):
    truncation = Truncation(GradientDescent(), K, lambda task: jnp.int32(LIFETIME), meta_loss)
    config = TruncatedBackpropConfig(**{"num_parallel": N, "stagger": False, **settings})
    return TruncatedBackprop(config, truncation, Recorder(), layout or Layout(), score)


def closed_form(x, task, theta):
    """`x_K - task = (1 - theta)^K (x - task)`; the meta-loss is its square."""
    distance = (1 - theta) ** K * (x - task)
    gradient = -2 * K * (1 - theta) ** (2 * K - 1) * (x - task) ** 2
    return distance**2, gradient, task + distance


@pytest.mark.parametrize(
    ("devices", "chunk", "rematerialise"), [(1, None, True), (1, 4, False), (2, 2, True)]
)
def test_gradients_losses_and_states_go_on(key, devices, chunk, rematerialise):
    found = estimator(Layout(devices, chunk), rematerialise=rematerialise)
    mesh = make_mesh(devices)
    theta = jnp.float32(THETA)
    state = on_mesh(lambda key: found.init(key, theta), mesh)(key)
    step = on_mesh(lambda key, state: found.estimate(key, theta, state), mesh)
    x, task = np.ones(N), np.arange(1.0, N + 1)
    for _ in range(2):
        estimate, state = step(key, state)
        losses, gradients, x = closed_form(x, task, THETA)
        # A dozen rounded operations on numbers up to 40.
        np.testing.assert_allclose(estimate.losses, losses, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(estimate.gradient, np.mean(gradients), rtol=1e-5)
        np.testing.assert_allclose(state.unrolls.state, x, rtol=1e-5)
    np.testing.assert_array_equal(state.unrolls.age, 2 * K)
    np.testing.assert_array_equal(state.unrolls.task, task)


def test_finished_unrolls_are_reported_and_reset(key):
    theta = jnp.float32(THETA)
    # The state identifies the progress of an unroll, the task the unroll.
    found = estimator(score=lambda key, theta, task, state: task)
    state = jax.jit(found.init)(key, theta)
    step = jax.jit(lambda state: found.estimate(key, theta, state)[1])
    for _ in range(2):
        state = step(state)
    assert state.curriculum["reports"] == 0
    state = step(state)  # age 9 >= 7
    assert state.curriculum["reports"] == N
    assert state.curriculum["total"] == sum(range(1, N + 1))
    np.testing.assert_array_equal(state.unrolls.task, np.arange(N + 1, 2 * N + 1))
    np.testing.assert_array_equal(state.unrolls.state, np.ones(N))
    np.testing.assert_array_equal(state.unrolls.age, np.zeros(N))


def test_only_finished_unrolls_are_scored(key):
    """The score is NaN for all other unrolls, and the sum would show it."""
    theta = jnp.float32(THETA)
    found = estimator(score=lambda key, theta, task, state: task, score_chunk=2)
    state = jax.jit(found.init)(key, theta)
    ages = jnp.array([0, 5, 0, 4, 0, 0])
    state = state._replace(unrolls=state.unrolls._replace(age=ages))
    state = jax.jit(lambda state: found.estimate(key, theta, state)[1])(state)
    assert state.curriculum["reports"] == 2
    assert state.curriculum["total"] == 2 + 4
    np.testing.assert_array_equal(state.unrolls.task, [1, 7, 3, 8, 5, 6])


def test_a_diverged_unroll_is_reset_and_gives_no_gradient(key):
    found = estimator(Layout(chunk=1))
    theta = jnp.float32(THETA)
    state = jax.jit(found.init)(key, theta)
    broken = state.unrolls.state.at[2].set(jnp.nan)
    state = state._replace(unrolls=state.unrolls._replace(state=broken))
    estimate, state = jax.jit(lambda state: found.estimate(key, theta, state))(state)
    kept = np.delete(np.arange(1.0, N + 1), 2)
    np.testing.assert_allclose(
        estimate.gradient, np.mean(closed_form(np.ones(N - 1), kept, THETA)[1]), rtol=1e-5
    )
    assert estimate.diverged == 1
    assert np.isfinite(estimate.losses).all()
    assert state.unrolls.age[2] == 0
    assert state.unrolls.task[2] == N + 1


def test_memory_does_not_grow_with_the_lifetime():
    """It is that of K steps; the lifetime is a value and not a shape."""
    found = estimator()
    state = jax.eval_shape(lambda key: found.init(key, jnp.float32(THETA)), jax.random.key(0))
    sizes = {leaf.shape for leaf in jax.tree.leaves(state.unrolls)}
    assert sizes == {(N,)}


@pytest.mark.parametrize("bad", [{"num_parallel": 0}, {"score_chunk": 0}])
def test_refused(bad):
    with pytest.raises(ConfigError, match="must be positive"):
        TruncatedBackpropConfig(**bad)
