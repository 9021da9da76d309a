"""Two-hot encoding: scalars as categorical distributions over evenly spaced bins.

A scalar between two bins is encoded as the distribution over these two with that mean. Regression
becomes classification, whose gradients do not grow with the target.
"""

import jax
import jax.numpy as jnp
import numpy as np

from metarl.core.types import Array


def two_hot(x: Array, low: float, high: float, bins: int) -> Array:
    """Returns distributions over `bins` evenly spaced points of `[low, high]` with means `x`.

    Args:
      x: scalars `[...]`; clipped to the range.
      low: first bin.
      high: last bin.
      bins: number N of bins, at least two.

    Returns:
      Probabilities `[..., N]`, at most two of them nonzero.

    Reference: Schrittwieser et al. 2020, arXiv:1911.08265, appendix F.
    """
    index, weight = _neighbors(x, low, high, bins)
    places = jnp.reshape(jnp.arange(bins), (1,) * jnp.ndim(x) + (bins,))
    index, weight = index[..., None], weight[..., None]
    return jnp.where(places == index, 1.0 - weight, 0.0) + jnp.where(
        places == index + 1, weight, 0.0
    )


def categorical_mean(logits: Array, low: float, high: float) -> Array:
    """Returns means of categorical distributions over evenly spaced points of `[low, high]`.

    Args:
      logits: logits `[..., N]`.
      low: first bin.
      high: last bin.

    Returns:
      Means `[...]`.
    """
    bins = np.linspace(low, high, logits.shape[-1]).reshape((1,) * (logits.ndim - 1) + (-1,))
    # A sum, since accelerators may compute a matrix product in lower precision.
    return jnp.sum(jax.nn.softmax(logits) * jnp.asarray(bins, logits.dtype), axis=-1)


def two_hot_cross_entropy(logits: Array, x: Array, low: float, high: float) -> Array:
    """`-sum_i two_hot(x)_i log softmax(logits)_i`: cross-entropy loss for scalar regression.

    Args:
      logits: logits `[..., N]`.
      x: scalars `[...]`, constants.
      low: first bin.
      high: last bin.

    Returns:
      Losses `[...]`.
    """
    target = two_hot(x, low, high, logits.shape[-1])
    return -jnp.sum(target * jax.nn.log_softmax(logits), axis=-1)


def _neighbors(x: Array, low: float, high: float, bins: int) -> tuple[Array, Array]:
    """Returns the index of the lower bin and the weight of the upper one."""
    position = (jnp.clip(x, low, high) - low) * ((bins - 1) / (high - low))
    # The last bin is the upper neighbor of the one before it.
    index = jnp.clip(jnp.floor(position), 0, bins - 2)
    return index.astype(jnp.int32), position - index
