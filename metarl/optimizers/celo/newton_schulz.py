"""Newton-Schulz orthogonalization of matrices."""

import jax
import jax.numpy as jnp

from metarl.core.types import Array

COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""Coefficients of `a x + b x^3 + c x^5`, whose iterates map (0, 1] to about [0.7, 1.2]."""

_EPS = 1e-8


def newton_schulz(matrix: Array, iterations: int = 5) -> Array:
    """Maps all singular values of a matrix close to 1 and keeps its singular vectors.

    Iterates `X <- a X + (b A + c A^2) X` with `A = X X^T`, from `X` of Frobenius norm 1. After five
    iterations, initial singular values above about 0.01 of the norm lie in about [0.7, 1.2];
    smaller ones have grown by `3.4445^5`.

    Products use the default precision of the device; the iteration is self-correcting.

    Args:
      matrix: floating array `[..., m, n]`; a zero matrix stays zero.
      iterations: number of iterations.

    Returns:
      An array of the same shape and dtype.
    """
    tall = matrix.shape[-2] > matrix.shape[-1]
    x = jnp.swapaxes(matrix, -2, -1) if tall else matrix
    x = x / (jnp.linalg.norm(x, axis=(-2, -1), keepdims=True) + _EPS)
    a, b, c = COEFFICIENTS

    def step(_: Array, x: Array) -> Array:
        gram = x @ jnp.swapaxes(x, -2, -1)
        return a * x + (b * gram + c * gram @ gram) @ x

    x = jax.lax.fori_loop(0, iterations, step, x)
    return jnp.swapaxes(x, -2, -1) if tall else x
