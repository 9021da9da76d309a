"""Products by columns are products, and so are their gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from metarl.networks.narrow import MOST_NARROW, narrow_product


@pytest.mark.parametrize("batch", [(), (5,), (2, 5)])
@pytest.mark.parametrize("outputs", [1, MOST_NARROW])
def test_against_numpy(key, batch, outputs):
    rng = np.random.default_rng(0)
    x, kernel = rng.normal(size=(*batch, 7)), rng.normal(size=(7, outputs))
    weights = rng.normal(size=(*batch, outputs))
    dimensions = (((len(batch),), (0,)), ((), ()))

    def product(x, kernel):
        return narrow_product(x, kernel, dimensions, precision=None)

    got, back = jax.vjp(product, jnp.float32(x), jnp.float32(kernel))
    to_x, to_kernel = back(jnp.float32(weights))
    # Float32 sums over at most ten entries of size one.
    np.testing.assert_allclose(got, x @ kernel, atol=1e-5)
    np.testing.assert_allclose(to_x, weights @ kernel.T, atol=1e-5)
    expected = x.reshape(-1, 7).T @ weights.reshape(-1, outputs)
    np.testing.assert_allclose(to_kernel, expected, atol=1e-5)
