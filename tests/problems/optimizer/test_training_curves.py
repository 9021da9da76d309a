"""Many trainings at once, against the closed form of gradient descent."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from metarl.core.errors import ConfigError
from metarl.core.mesh import Layout
from metarl.problems.optimizer.training_curves import evaluation_steps, training_program

from .toy_family import DESCENT, TOY

RATES = np.array([0.01, 0.3, 40.0])
EVAL_STEPS = np.array([0, 1, 4, 9])


@pytest.fixture(scope="module")
def curves():
    program = training_program(TOY, DESCENT, 3, EVAL_STEPS, 5, 2, Layout(2))
    return program(jax.random.key(0), jnp.float32(RATES))


def test_losses_are_those_of_gradient_descent(curves):
    # After n updates x is (1 - rate c)^n x_0. The family tells c: raw over normalised loss.
    start = curves.training[..., :1]
    c = start / curves.training_scaled[..., :1]
    expected = start * (1 - RATES[:, None, None, None] * c) ** (2 * EVAL_STEPS)
    assert expected[-1, ..., -1].min() > 1e20  # the last rate diverges
    # Rounding of float32, 6e-8 each, in 9 updates that multiply it by 2 in the loss.
    np.testing.assert_allclose(curves.training, expected, rtol=4e-6)
    np.testing.assert_allclose(curves.held_out, curves.training + 1, rtol=1e-6)
    np.testing.assert_allclose(curves.held_out_scaled, curves.held_out / c, rtol=1e-6)
    np.testing.assert_array_equal(curves.steps, EVAL_STEPS)


def test_everyone_gets_the_same_tasks_and_networks(curves):
    start = curves.training[..., 0]
    np.testing.assert_array_equal(start, np.broadcast_to(start[:1], start.shape))
    c = start / curves.training_scaled[..., 0]
    # Five tasks that differ, each of one curvature; two networks on each, which differ.
    assert np.unique(c[0, :, 0].round(5)).size == 5
    np.testing.assert_allclose(c[0, :, 0], c[0, :, 1], rtol=1e-6)
    assert (start[0, :, 0] != start[0, :, 1]).all()


def test_a_longer_training_begins_like_a_shorter_one(curves):
    program = training_program(TOY, DESCENT, 1, np.array([0, 4, 20]), 5, 2, Layout(1, chunk=3))
    longer = program(jax.random.key(0), jnp.float32(RATES[1:2]))
    np.testing.assert_allclose(longer.training[0, ..., 1], curves.training[1, ..., 2], rtol=1e-6)


def test_what_diverges_is_nan():
    program = training_program(TOY, DESCENT, 1, np.array([0, 2, 60]), 1, 1, Layout(1))
    (loss,) = program(jax.random.key(0), jnp.float32([1e3])).training[0, 0]
    assert np.isfinite(loss[:2]).all()
    assert np.isnan(loss[2])


def test_looks():
    np.testing.assert_array_equal(evaluation_steps(10, 5), [0, 2, 4, 6, 8, 10])
    np.testing.assert_array_equal(evaluation_steps(3, 50), [0, 1, 2, 3])
    for eval_steps in ([1, 2], [0, 2, 2], [0]):
        with pytest.raises(ConfigError, match="Looks must rise from 0"):
            training_program(TOY, DESCENT, 1, np.array(eval_steps), 1, 1, Layout(1))
    with pytest.raises(ConfigError, match="tasks must be positive"):
        training_program(TOY, DESCENT, 1, np.array([0, 1]), 0, 1, Layout(1))
