"""Running mean and variance of a stream of batches."""

import math
from typing import NamedTuple

import jax.numpy as jnp

from metarl.core.types import Array

VARIANCE_EPS = 1e-8
"""Constant added to a running variance before its square root."""


class Moments(NamedTuple):
    """Mean and (population) variance of `count` samples; all float32, `count` a scalar."""

    mean: Array
    var: Array
    count: Array  # type: ignore[assignment]


def initial_moments(shape: tuple[int, ...]) -> Moments:
    """Returns moments of no samples: mean 0 and variance 1."""
    return Moments(
        jnp.zeros(shape, jnp.float32), jnp.ones(shape, jnp.float32), jnp.zeros((), jnp.float32)
    )


def merge_batch(moments: Moments, batch: Array, batch_shape: tuple[int, ...]) -> Moments:
    """Merges samples `[*batch_shape, ...]` into the moments.

    This is the pairwise update of Chan, Golub and LeVeque (1979), written with the weight of the
    batch to avoid large sums. `count` stops growing where float32 cannot add the batch size to it
    (1.6e7 times the batch size); from there on the moments are exponential moving averages.
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
    """Adds leading axes to a statistic `[...]`, so that it broadcasts over `batch_shape`."""
    return jnp.reshape(statistic, (1,) * len(batch_shape) + jnp.shape(statistic))
