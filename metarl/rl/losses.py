"""Terms of the actor-critic objective, elementwise over a minibatch."""

import jax.numpy as jnp

from metarl.core.types import Array


def value_loss(value: Array, target: Array, old_value: Array, clip: float | None = None) -> Array:
    """Half squared value error; with `clip`, the maximum of the unclipped and the clipped error.

    Args:
      value: current predictions `[...]`.
      target: regression targets `[...]`, constants.
      old_value: predictions at collection time `[...]`, constants; used only with `clip`.
      clip: clipping range of the prediction around `old_value`; None = no clipping.

    Reference: Schulman et al. 2017, arXiv:1707.06347; clipping as in its released code.
    """
    error = (value - target) ** 2
    if clip is not None:
        clipped = old_value + jnp.clip(value - old_value, -clip, clip)
        error = jnp.maximum(error, (clipped - target) ** 2)
    return 0.5 * error


def approximate_kl(log_ratio: Array) -> Array:
    """Elementwise estimate of KL(old || new) from samples of old: `exp(l) - 1 - l`.

    It is non-negative and has low variance; its expectation under the old policy is the divergence.
    """
    return jnp.expm1(log_ratio) - log_ratio
