"""Fast matrix products with kernels of a few columns, for which BLAS is slow on CPU."""

from typing import Any

import jax
import jax.numpy as jnp

from metarl.core.types import Array

MOST_NARROW = 3
"""Largest number of outputs for which a product by columns is faster."""


def narrow_product(x: Array, kernel: Array, dimensions: Any, **options: Any) -> Array:
    """Computes `x [..., H] @ kernel [H, A]` for small A; a `dot_general` for `nn.Dense`.

    On CPU it computes A matrix-vector products: the gradients of a `[128, 64] x [64, 2]` matrix
    product take as long there as those of a product thirty times as large.
    """
    if jax.default_backend() != "cpu":
        return jax.lax.dot_general(x, kernel, dimensions, **options)
    del dimensions
    columns = (kernel[:, i] for i in range(kernel.shape[1]))
    return jnp.stack([jnp.dot(x, column, **options) for column in columns], axis=-1)
