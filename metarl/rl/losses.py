"""Terms of the actor-critic objective, elementwise over a minibatch."""

import jax.numpy as jnp

from metarl.core.types import Array


def value_loss(value: Array, target: Array, old_value: Array, clip: float | None = None) -> Array:
    """Half squared error of values, optionally the worse of the plain and the clipped one.

    Args:
      value: current predictions `[...]`.
      target: regression targets `[...]`, constants.
      old_value: predictions at collection time `[...]`, constants; used only with `clip`.
      clip: how far a prediction may move from `old_value` before it stops being rewarded.

    Reference: Schulman et al. 2017, arXiv:1707.06347; clipping as in its released code.
    """
    error = (value - target) ** 2
    if clip is not None:
        clipped = old_value + jnp.clip(value - old_value, -clip, clip)
        error = jnp.maximum(error, (clipped - target) ** 2)
    return 0.5 * error


def approximate_kl(log_ratio: Array) -> Array:
    """Non-negative, low-variance estimate of KL(old || new) from samples of old, elementwise.

    `exp(l) - 1 - l`, whose expectation under the old policy is the divergence.
    """
    return jnp.expm1(log_ratio) - log_ratio
