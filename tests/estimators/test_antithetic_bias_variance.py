"""Truncated ES, PES and noise reuse against closed forms in float64: means, biases, variances."""

import jax.numpy as jnp
import numpy as np
import pytest

from metarl.estimators.noise_reuse_es import NoiseReuseES
from metarl.estimators.pes import PES
from metarl.estimators.truncated_es import TruncatedES

from .antithetic_toys import ESTIMATORS, LogRate, Slope, full_unrolls, make
from .standard_errors import assert_mean, assert_variance, z_scores

K, WINDOWS, SIGMA = 2, 4, 0.3
THETA = float(np.log(0.3))
SLOPE, LINEAR_WINDOWS = np.array([0.6, 0.0, -0.8, 0.5]), 6

NODES, WEIGHTS = np.polynomial.hermite_e.hermegauss(60)


def smoothed(function):
    """`E function(theta + sigma eps)` by Gauss-Hermite quadrature, exact to rounding here."""
    return WEIGHTS @ function(THETA + SIGMA * NODES) / np.sqrt(2 * np.pi)


def survival(steps):
    """What is left of `x^2` after some steps under one draw, in the mean, and its derivative.

    `(1 - e^t)^(2 steps)`, with derivative `-2 steps e^t (1 - e^t)^(2 steps - 1)`.
    """
    value = smoothed(lambda t: (1 - np.exp(t)) ** (2 * steps))
    slope = smoothed(lambda t: -2 * steps * np.exp(t) * (1 - np.exp(t)) ** (2 * steps - 1))
    return value, slope


def expected(kind):
    """Mean estimate of every window `[WINDOWS]`.

    The loss of window w is `x_w^2 / 2 * mean_k S_k`, where `S_k = (1 - e^t)^(2k)` under the draw of
    this window, and `x_w^2` is a product of S_K under the draws of the windows before it.
    """
    whole, whole_slope = survival(K)
    inside, inside_slope = np.mean([survival(k) for k in range(1, K + 1)], axis=0)
    before = np.arange(WINDOWS)
    if kind is TruncatedES:
        return 0.5 * whole**before * inside_slope
    if kind is PES:
        earlier = before * whole ** np.maximum(before - 1, 0) * whole_slope
        return 0.5 * (whole**before * inside_slope + earlier * inside)
    # One draw for the unroll: ordinary evolution strategies on every window.
    return np.array(
        [0.5 * np.mean([survival(w * K + k)[1] for k in range(1, K + 1)]) for w in before]
    )


@pytest.fixture(scope="module")
def descents():
    """Estimates `[R, WINDOWS]` of 64 unrolls each, by estimator."""
    return {
        kind: full_unrolls(
            make(kind, LogRate(), K, K * WINDOWS, num_parallel=64, sigma=SIGMA),
            jnp.float32(THETA),
            WINDOWS,
            1000,
        )
        for kind in ESTIMATORS
    }


@pytest.mark.parametrize("kind", ESTIMATORS)
def test_means_of_every_window_and_of_the_unroll(descents, kind):
    assert_mean(descents[kind], expected(kind))
    assert_mean(descents[kind].sum(axis=1), expected(kind).sum())


def test_pes_is_unbiased_for_the_total_loss_of_an_unroll_and_truncated_es_is_not(descents):
    """`E sum_w L_w` with noise resampled in every window, differentiated by finite differences."""

    def total(theta):
        moment = [
            WEIGHTS @ (1 - np.exp(theta + SIGMA * NODES)) ** (2 * k) / np.sqrt(2 * np.pi)
            for k in range(1, K + 1)
        ]
        return sum(0.5 * moment[-1] ** w * np.mean(moment) for w in range(WINDOWS))

    step = 1e-5
    exact = (total(THETA + step) - total(THETA - step)) / (2 * step)
    assert abs(z_scores(descents[PES].sum(axis=1), exact)) < 4
    # The power of this test: an estimate without accumulated noise is far off, and smaller.
    assert z_scores(descents[TruncatedES].sum(axis=1), exact) > 20
    # Noise reuse is unbiased for another smoothing, which differs at this large sigma.
    assert abs(z_scores(descents[NoiseReuseES].sum(axis=1), exact)) > 4


@pytest.mark.slow
@pytest.mark.parametrize("kind", ESTIMATORS)
def test_variance_on_a_linear_loss(kind):
    """Variance of one pair in window w: `w |c|^2 + c_i^2` for PES, `|c|^2 + c_i^2` for the others.

    For a full unroll, see `PES`.
    """
    found = make(kind, Slope(jnp.float32(SLOPE)), 1, LINEAR_WINDOWS, num_parallel=1, sigma=0.5)
    samples = full_unrolls(found, jnp.zeros(4), LINEAR_WINDOWS, 20_000)
    square, windows = SLOPE @ SLOPE, np.arange(1, LINEAR_WINDOWS + 1)[:, None]
    assert_mean(samples, SLOPE)
    growth = windows if kind is PES else np.ones_like(windows)
    assert_variance(samples, growth * square + SLOPE**2)
    total = {
        TruncatedES: LINEAR_WINDOWS * (square + SLOPE**2),
        PES: LINEAR_WINDOWS * (LINEAR_WINDOWS + 1) / 2 * square + LINEAR_WINDOWS * SLOPE**2,
        NoiseReuseES: LINEAR_WINDOWS**2 * (square + SLOPE**2),
    }
    assert_variance(samples.sum(axis=1), total[kind])
