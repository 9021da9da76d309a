"""Products with kernels of a few columns, which libraries of matrix products are slow at."""

from typing import Any

import jax
import jax.numpy as jnp

from metarl.core.types import Array

MOST_NARROW = 3
"""Up to this many outputs a product by columns is the faster one."""


def narrow_product(x: Array, kernel: Array, dimensions: Any, **options: Any) -> Array:
    """`x [..., H] @ kernel [H, A]` for a small A, to be a `Dense` layer's `dot_general`.

    On CPU it is A products with a vector each. The gradients of a `[128, 64] x [64, 2]` product
    take as long there as those of one thirty times its size.
    """
    if jax.default_backend() != "cpu":
        return jax.lax.dot_general(x, kernel, dimensions, **options)
    del dimensions
    columns = (kernel[:, i] for i in range(kernel.shape[1]))
    return jnp.stack([jnp.dot(x, column, **options) for column in columns], axis=-1)
