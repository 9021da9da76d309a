"""Mean and scale of a stream of arrays, as exponential moving averages."""

from typing import NamedTuple

import jax.numpy as jnp

from metarl.core.types import Array

_ROOT_EPS = 1e-12  # keeps the square root differentiable where the variance is zero


class MovingMoments(NamedTuple):
    """Biased averages, and what corrects their bias; scalars.

    Attributes:
      first: of `x`.
      second: of `x^2`.
      unseen: weight of the zeros that they began with, `decay^n` after n updates.
    """

    first: Array
    second: Array
    unseen: Array


def init() -> MovingMoments:
    """The state before any array was seen."""
    return MovingMoments(jnp.float32(0.0), jnp.float32(0.0), jnp.float32(1.0))


def update(moments: MovingMoments, x: Array, decay: float) -> MovingMoments:
    """Averages in the mean and mean square of all entries of `x`."""
    return MovingMoments(
        first=decay * moments.first + (1.0 - decay) * jnp.mean(x),
        second=decay * moments.second + (1.0 - decay) * jnp.mean(x**2),
        unseen=decay * moments.unseen,
    )


def normalize(moments: MovingMoments, x: Array, eps: float) -> Array:
    """`(x - mean) / (std + eps)`, elementwise, with the debiased moments of at least one update."""
    seen = 1.0 - moments.unseen
    mean = moments.first / seen
    variance = jnp.maximum(moments.second / seen - mean**2, 0.0)
    return (x - mean) / (jnp.sqrt(variance + _ROOT_EPS) + eps)
