"""Retrace against its sum over traces, and against returns in its limits."""

import jax.numpy as jnp
import numpy as np
import pytest

from metarl.rl.retrace import retrace_targets


def by_definition(r, q, v, trace, terminated, done, gamma):
    """q_t + sum_k gamma^k (c_t+1 ... c_t+k) delta_t+k, cut where the episode of t ends."""
    steps = len(r)
    deltas = r + gamma * (1 - terminated) * v - q
    out = np.array(q)
    for t in range(steps):
        weight = 1.0
        for k in range(t, steps):
            if k > t:
                weight *= gamma * trace[k]
            out[t] += weight * deltas[k]
            if done[k]:
                break
    return out


@pytest.mark.parametrize("steps", [1, 6, 35])
@pytest.mark.parametrize("gamma", [0.0, 0.9, 0.997])
def test_against_the_sum_over_traces(steps, gamma):
    rng = np.random.default_rng(steps)
    r, q, v = rng.normal(size=(3, steps, 2))
    trace = 0.95 * np.minimum(1, np.exp(rng.normal(size=(steps, 2))))
    terminated = (rng.random((steps, 2)) < 0.15).astype(float)
    done = np.maximum(terminated, rng.random((steps, 2)) < 0.15)
    got = retrace_targets(*(jnp.float32(x) for x in (r, q, v, trace, terminated, done)), gamma)
    for b in range(2):
        expected = by_definition(
            r[:, b], q[:, b], v[:, b], trace[:, b], terminated[:, b], done[:, b], gamma
        )
        # float32 sums of `steps` terms of order one
        tolerance = 16 * np.finfo(np.float32).eps * steps
        np.testing.assert_allclose(got[:, b], expected, atol=tolerance, rtol=1e-5)


def test_full_traces_and_equal_values_give_the_return():
    r = np.float32([1, 2, 3, 5])
    zero, one = np.zeros(4, np.float32), np.ones(4, np.float32)
    done = np.float32([0, 0, 1, 1])
    got = retrace_targets(r, zero, zero, one, done, done, 0.5)
    np.testing.assert_allclose(got, [1 + 1 + 0.75, 2 + 1.5, 3, 5], rtol=1e-6)


def test_no_traces_give_one_step_targets():
    rng = np.random.default_rng(3)
    r, q, v = np.float32(rng.normal(size=(3, 5)))
    zero = np.zeros(5, np.float32)
    got = retrace_targets(r, q, v, zero, zero, zero, 0.9)
    np.testing.assert_allclose(got, r + np.float32(0.9) * v, rtol=1e-6)


def test_truncation_bootstraps_and_termination_does_not():
    one, zero = np.ones(2, np.float32), np.zeros(2, np.float32)
    ended = np.float32([1, 0])
    arguments = (one, zero, 10 * one, one)
    cut = retrace_targets(*arguments, zero, ended, 0.9)
    end = retrace_targets(*arguments, ended, ended, 0.9)
    # The second step has the target 10, which must reach the first in neither case.
    np.testing.assert_allclose(cut, [10, 10], rtol=1e-6)
    np.testing.assert_allclose(end, [1, 10], rtol=1e-6)
