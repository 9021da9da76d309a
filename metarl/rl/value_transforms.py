"""Invertible transforms that compress values, so that one range of bins fits all reward scales."""

import jax.numpy as jnp

from metarl.core.types import Array

HYPERBOLIC_EPS = 1e-3
"""Coefficient of the linear term, which bounds the slope of the inverse transform."""


def signed_log(x: Array) -> Array:
    """`sign(x) log(1 + |x|)`, elementwise."""
    return jnp.sign(x) * jnp.log1p(jnp.abs(x))


def signed_hyperbolic(x: Array, eps: float = HYPERBOLIC_EPS) -> Array:
    """`sign(x) (sqrt(|x| + 1) - 1) + eps x`, elementwise.

    Reference: Pohlen et al. 2018, arXiv:1805.11593, proposition A.2.
    """
    size = jnp.abs(x)
    # sqrt(s + 1) - 1, computed without cancellation near zero.
    return jnp.sign(x) * (size / (jnp.sqrt(size + 1.0) + 1.0)) + eps * x


def signed_parabolic(x: Array, eps: float = HYPERBOLIC_EPS) -> Array:
    """Inverse of `signed_hyperbolic`, elementwise.

    `sign(x) (z^2 - 1)` with `z = (sqrt(1 + 4 eps (|x| + 1 + eps)) - 1) / (2 eps)`.

    Reference: Pohlen et al. 2018, arXiv:1805.11593, proposition A.2.
    """
    size = jnp.abs(x)
    root = jnp.sqrt(1.0 + 4.0 * eps * (size + 1.0 + eps))
    # z - 1, computed without the cancellation that would cost float32 four digits.
    excess = 2.0 * size / (root + 1.0 + 2.0 * eps)
    return jnp.sign(x) * excess * (excess + 2.0)
