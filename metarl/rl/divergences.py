"""Divergences between distributions."""

import jax
import jax.numpy as jnp

from metarl.core.types import Array


def categorical_kl_divergence(p_logits: Array, q_logits: Array) -> Array:
    """`KL(p || q)` of categorical distributions, in nats.

    Args:
      p_logits: `[..., N]`; the first argument is the target where `q` is fitted to `p`.
      q_logits: same shape.

    Returns:
      `[...]`.
    """
    log_p = jax.nn.log_softmax(p_logits)
    return jnp.sum(jnp.exp(log_p) * (log_p - jax.nn.log_softmax(q_logits)), axis=-1)
