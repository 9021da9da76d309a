"""Running mean and variance of a stream of batches."""

import math
from typing import NamedTuple

import jax.numpy as jnp

from metarl.core.types import Array

VARIANCE_EPS = 1e-8
"""Added to a running variance before its square root divides."""


class Moments(NamedTuple):
    """Mean and (population) variance of `count` samples; all float32, `count` a scalar."""

    mean: Array
    var: Array
    count: Array  # type: ignore[assignment]


def initial_moments(shape: tuple[int, ...]) -> Moments:
    """Moments of no data yet: normalising by them changes (next to) nothing."""
    return Moments(
        jnp.zeros(shape, jnp.float32), jnp.ones(shape, jnp.float32), jnp.zeros((), jnp.float32)
    )


def merge_batch(moments: Moments, batch: Array, batch_shape: tuple[int, ...]) -> Moments:
    """Merges samples `[*batch_shape, ...]` into the moments.

    The pairwise update of Chan, Golub and LeVeque (1979), written with the weight of the batch, so
    that no large sum appears. `count` stops growing where float32 cannot add the batch to it
    (1.6e7 times the batch size): from there on the moments follow the stream exponentially.
    """
    axes = tuple(range(len(batch_shape)))
    size = math.prod(batch_shape)
    count = moments.count + size
    weight = size / count
    delta = jnp.mean(batch, axes) - moments.mean
    spread = weight * (1.0 - weight) * jnp.square(delta)
    var = (1.0 - weight) * moments.var + weight * jnp.var(batch, axes) + spread
    return Moments(moments.mean + weight * delta, var, count)


def align(statistic: Array, batch_shape: tuple[int, ...]) -> Array:
    """Gives a statistic `[...]` the leading axes that broadcast it over `batch_shape`."""
    return jnp.reshape(statistic, (1,) * len(batch_shape) + jnp.shape(statistic))
