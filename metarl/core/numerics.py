"""Numerical constants and guarded elementary functions."""

import jax.numpy as jnp

from metarl.core.types import Array

STD_EPS = 1e-8
"""Added to a standard deviation before dividing by it."""


def standardize(x: Array, where: Array | None = None) -> Array:
    """Shifts and scales `x` to mean 0 and standard deviation 1 over all its (masked) entries."""
    mean = jnp.mean(x, where=where)
    return (x - mean) / (jnp.std(x, where=where) + STD_EPS)


def finite_or(x: Array, default: Array) -> Array:
    """Replaces NaN and infinities by `default`, elementwise."""
    return jnp.where(jnp.isfinite(x), x, default)
