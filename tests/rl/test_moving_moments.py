import jax
import numpy as np
import pytest

from metarl.rl.moving_moments import init, normalize, update


@pytest.mark.parametrize("decay", [0.5, 0.99])
def test_against_weighted_moments(decay):
    batches = np.random.default_rng(0).normal(3.0, 2.0, (6, 5, 4))
    moments = init()
    for batch in batches:
        moments = update(moments, np.float32(batch), decay)
    weights = decay ** np.arange(6)[::-1]
    weights = weights / weights.sum()
    mean = weights @ batches.mean(axis=(1, 2))
    std = np.sqrt(weights @ (batches**2).mean(axis=(1, 2)) - mean**2)
    x = np.float32([-1.0, 0.0, 7.0])
    # The variance is a difference of numbers four times its size.
    np.testing.assert_allclose(normalize(moments, x, 1e-6), (x - mean) / std, rtol=2e-5)


def test_one_update_standardises_its_own_batch():
    x = np.float32(np.random.default_rng(1).normal(5, 3, 50))
    z = normalize(update(init(), x, 0.99), x, 1e-6)
    assert abs(float(z.mean())) < 1e-4
    assert abs(float(z.std()) - 1) < 1e-4


def test_constants_give_zero_with_a_finite_gradient():
    x = np.zeros(4, np.float32)

    def f(x):
        return normalize(update(init(), x, 0.99), x, 1e-6).sum()

    assert float(f(x)) == 0.0
    assert np.all(np.isfinite(jax.grad(f)(x)))
