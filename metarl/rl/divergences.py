"""Divergences between distributions."""

import jax
import jax.numpy as jnp

from metarl.core.types import Array


def categorical_kl_divergence(p_logits: Array, q_logits: Array) -> Array:
    """Returns `KL(p || q)` of categorical distributions, in nats.

    Args:
      p_logits: logits of p, `[..., N]`.
      q_logits: logits of q, same shape.

    Returns:
      Divergences `[...]`.
    """
    log_p = jax.nn.log_softmax(p_logits)
    return jnp.sum(jnp.exp(log_p) * (log_p - jax.nn.log_softmax(q_logits)), axis=-1)
