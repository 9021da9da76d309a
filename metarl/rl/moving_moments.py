"""Mean and scale of a stream of arrays, as exponential moving averages."""

from typing import NamedTuple

import jax.numpy as jnp

from metarl.core.types import Array

_ROOT_EPS = 1e-12  # keeps the square root differentiable where the variance is zero


class MovingMoments(NamedTuple):
    """Biased exponential moving averages, and the term for bias correction; scalars.

    Attributes:
      first: moving average of `x`.
      second: moving average of `x^2`.
      unseen: weight of the zero initialization, `decay^n` after n updates.
    """

    first: Array
    second: Array
    unseen: Array


def init() -> MovingMoments:
    """Returns the initial state."""
    return MovingMoments(jnp.float32(0.0), jnp.float32(0.0), jnp.float32(1.0))


def update(moments: MovingMoments, x: Array, decay: float) -> MovingMoments:
    """Updates the averages with the mean and mean square of all elements of `x`."""
    return MovingMoments(
        first=decay * moments.first + (1.0 - decay) * jnp.mean(x),
        second=decay * moments.second + (1.0 - decay) * jnp.mean(x**2),
        unseen=decay * moments.unseen,
    )


def normalize(moments: MovingMoments, x: Array, eps: float) -> Array:
    """Returns `(x - mean) / (std + eps)` with bias-corrected moments; needs at least one update."""
    seen = 1.0 - moments.unseen
    mean = moments.first / seen
    variance = jnp.maximum(moments.second / seen - mean**2, 0.0)
    return (x - mean) / (jnp.sqrt(variance + _ROOT_EPS) + eps)
