"""Terms of the objective against their formulas in float64."""

import jax.numpy as jnp
import numpy as np

from metarl.rl.losses import approximate_kl, value_loss


def test_value_loss_without_clipping():
    value, target = np.array([1.0, -2.0]), np.array([0.5, 1.0])
    got = value_loss(jnp.float32(value), jnp.float32(target), jnp.zeros(2))
    # Three roundings.
    np.testing.assert_allclose(got, 0.5 * (value - target) ** 2, rtol=1e-6)


def test_value_clipping_takes_the_worse():
    old, target = jnp.float32([0.0, 0.0]), jnp.float32([1.0, 1.0])
    value = jnp.float32([0.9, -0.9])
    # 0.9 is clipped to 0.2 (worse, so kept); -0.9 to -0.2 (better, so the plain one is kept)
    got = value_loss(value, target, old, clip=0.2)
    # Some five roundings.
    np.testing.assert_allclose(got, [0.5 * 0.8**2, 0.5 * 1.9**2], rtol=1e-6)


def test_kl_estimate_is_unbiased_and_non_negative():
    old, new = np.array([0.2, 0.5, 0.3]), np.array([0.4, 0.4, 0.2])
    terms = np.asarray(approximate_kl(jnp.float32(np.log(new / old))), np.float64)
    assert (terms >= 0).all()
    # Float32 terms up to 0.3 whose weighted sum is 0.09, as differences of numbers up to 1.
    np.testing.assert_allclose((old * terms).sum(), (old * np.log(old / new)).sum(), rtol=1e-5)
