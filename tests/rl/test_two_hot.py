"""Two-hot distributions against their defining properties and handcrafted cases."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from metarl.rl.two_hot import categorical_mean, two_hot, two_hot_cross_entropy

LOW, HIGH, BINS = -3.0, 3.0, 7


@pytest.mark.parametrize(
    ("x", "expected"),
    [
        (-3.0, {0: 1.0}),
        (3.0, {6: 1.0}),
        (0.0, {3: 1.0}),
        (0.25, {3: 0.75, 4: 0.25}),
        (-2.5, {0: 0.5, 1: 0.5}),
        (7.0, {6: 1.0}),
        (-99.0, {0: 1.0}),
    ],
)
def test_by_hand(x, expected):
    probabilities = np.zeros(BINS)
    for place, share in expected.items():
        probabilities[place] = share
    np.testing.assert_allclose(two_hot(jnp.float32(x), LOW, HIGH, BINS), probabilities, atol=1e-6)


@pytest.mark.parametrize("bins", [2, 6, 601])
def test_the_mean_is_the_scalar(bins):
    x = np.random.default_rng(0).uniform(-300, 300, (4, 5)).astype(np.float32)
    probabilities = np.asarray(two_hot(x, -300.0, 300.0, bins), np.float64)
    assert probabilities.shape == (4, 5, bins)
    assert np.all(probabilities >= 0)
    assert np.all(np.sum(probabilities > 0, axis=-1) <= 2)
    np.testing.assert_allclose(probabilities.sum(-1), 1.0, rtol=1e-6)
    # Positions are rounded at the size of the range, in units of a bin.
    atol = 600 * 4 * np.finfo(np.float32).eps
    np.testing.assert_allclose(
        probabilities @ np.linspace(-300, 300, bins), x, atol=atol * max(1, 600 / bins)
    )


def test_mean_and_cross_entropy_against_numpy():
    rng = np.random.default_rng(1)
    logits = rng.normal(0, 2, (3, 4, BINS)).astype(np.float32)
    x = rng.uniform(-4, 4, (3, 4)).astype(np.float32)
    probabilities = np.exp(logits.astype(np.float64))
    probabilities /= probabilities.sum(-1, keepdims=True)
    support = np.arange(BINS) - 3.0
    close = {"rtol": 1e-5, "atol": 1e-5}  # float32 sums of 7 terms of order one
    np.testing.assert_allclose(
        categorical_mean(jnp.asarray(logits), LOW, HIGH), (probabilities * support).sum(-1), **close
    )
    expected = np.zeros((3, 4))
    for i in np.ndindex(3, 4):
        clipped = np.clip(float(x[i]), LOW, HIGH)
        lower = int(min(np.floor(clipped), 2))
        share = clipped - lower
        log = np.log(probabilities[i])
        expected[i] = -(1 - share) * log[lower + 3] - share * log[lower + 4]
    got = two_hot_cross_entropy(jnp.asarray(logits), jnp.asarray(x), LOW, HIGH)
    np.testing.assert_allclose(got, expected, **close)


def test_descent_on_the_cross_entropy_reaches_the_scalar():
    loss = jax.jit(jax.grad(lambda logits: two_hot_cross_entropy(logits, 1.3, LOW, HIGH)))
    logits = jnp.zeros(BINS)
    for _ in range(300):
        logits = logits - loss(logits)
    # What remains on the five other bins decays as one over the number of steps.
    assert abs(float(categorical_mean(logits, LOW, HIGH)) - 1.3) < 0.05
