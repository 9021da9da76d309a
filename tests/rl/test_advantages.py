"""Advantages against the definition, summed out in float64 NumPy."""

import jax
import numpy as np
import pytest

from metarl.rl.advantages import generalized_advantage_estimation


def by_definition(r, v_tm1, v_t, terminated, done, gamma, lam):
    """A_t = sum_k (gamma lambda)^k delta_{t+k}, cut at the end of the episode of t."""
    steps = len(r)
    deltas = r + gamma * (1 - terminated) * v_t - v_tm1
    out = np.zeros(steps)
    for t in range(steps):
        weight = 1.0
        for k in range(t, steps):
            out[t] += weight * deltas[k]
            if done[k]:
                break
            weight *= gamma * lam
    return out


@pytest.mark.parametrize("steps", [1, 7, 40])
@pytest.mark.parametrize(("gamma", "lam"), [(0.99, 0.95), (1.0, 1.0), (0.9, 0.0), (0.0, 0.5)])
def test_against_the_definition(steps, gamma, lam):
    rng = np.random.default_rng(steps)
    r, v_tm1, v_t = rng.normal(size=(3, steps, 2))
    terminated = (rng.random((steps, 2)) < 0.15).astype(float)
    truncated = (rng.random((steps, 2)) < 0.15) * (1 - terminated)
    done = terminated + truncated
    with jax.numpy_dtype_promotion("standard"):
        got = generalized_advantage_estimation(
            *(np.float32(x) for x in (r, v_tm1, v_t, terminated, done)), gamma, lam
        )
    for b in range(2):
        expected = by_definition(
            r[:, b], v_tm1[:, b], v_t[:, b], terminated[:, b], done[:, b], gamma, lam
        )
        # float32 sums of `steps` terms of order one
        tolerance = 4 * np.finfo(np.float32).eps * steps * 4
        np.testing.assert_allclose(got.advantages[:, b], expected, atol=tolerance, rtol=1e-5)
        np.testing.assert_allclose(
            got.targets[:, b], expected + v_tm1[:, b], atol=tolerance, rtol=1e-5
        )


def test_truncation_bootstraps_and_termination_does_not():
    one = np.ones((1,), np.float32)
    value = 10 * one
    cut = generalized_advantage_estimation(one, 0 * one, value, 0 * one, one, 0.9, 0.95)
    end = generalized_advantage_estimation(one, 0 * one, value, one, one, 0.9, 0.95)
    # A product and a sum.
    np.testing.assert_allclose(cut.advantages, [1 + 0.9 * 10], rtol=1e-6)
    np.testing.assert_allclose(end.advantages, [1.0], rtol=1e-6)


def test_lambda_one_gives_the_discounted_return():
    r = np.float32([1.0, 2.0, 3.0])
    zero = np.zeros(3, np.float32)
    done = np.float32([0, 0, 1])
    got = generalized_advantage_estimation(r, zero, zero, done, done, 0.5, 1.0)
    # Halves and wholes: exact but for the order of a few operations.
    np.testing.assert_allclose(got.targets, [1 + 1 + 0.75, 2 + 1.5, 3], rtol=1e-6)
