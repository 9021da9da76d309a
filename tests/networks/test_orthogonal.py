"""Random orthogonal kernels are orthogonal, uniform, and independent of each other."""

import jax
import numpy as np
import pytest

from metarl.networks.orthogonal import orthogonal_kernels

SHAPES = [(3, 5), (5, 2), (3, 3, 2, 5), (5, 5), (1, 5)]


def matrix(kernel):
    kernel = np.asarray(kernel, np.float64).reshape(-1, kernel.shape[-1])
    return kernel if kernel.shape[0] >= kernel.shape[1] else kernel.T


def test_columns_or_rows_are_orthonormal(key):
    kernels = orthogonal_kernels(key, SHAPES)
    assert [kernel.shape for kernel in kernels] == SHAPES
    for kernel in map(matrix, kernels):
        # QR in float32: a few roundings of columns of at most 18 entries.
        np.testing.assert_allclose(kernel.T @ kernel, np.eye(kernel.shape[1]), atol=2e-6)


@pytest.mark.parametrize("place", range(len(SHAPES)))
def test_uniform_and_independent(key, place):
    """Haar measure: entries have mean 0, variance 1 / rows, and so has the trace of a square one.

    Q of LAPACK alone, whose signs are not random, fails: its first column leans to one side.
    """
    draws = 4000
    kernels = jax.jit(jax.vmap(lambda k: orthogonal_kernels(k, SHAPES)))(
        jax.random.split(key, draws)
    )
    drawn = np.stack([matrix(kernel) for kernel in np.asarray(kernels[place])])
    rows = drawn.shape[1]
    # Five standard errors of means of `draws` numbers of variance 1 / rows, and of their squares,
    # whose variance is below 2 / rows^2.
    np.testing.assert_allclose(drawn.mean(0), 0.0, atol=5 * (rows * draws) ** -0.5)
    np.testing.assert_allclose((drawn**2).mean(0), 1 / rows, atol=5 * (2 / draws) ** 0.5 / rows)
    other = np.stack([matrix(kernel) for kernel in np.asarray(kernels[place - 1])])
    together = drawn[:, 0, 0] * other[:, 0, 0]
    bound = 5 * (rows * other.shape[1] * draws) ** -0.5
    assert abs(together.mean()) < bound
