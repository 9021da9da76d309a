"""Normalization of losses across families."""

import jax.numpy as jnp

from metarl.core.types import Array


def compress(loss: Array) -> Array:
    """Returns the loss up to 1, and `1 + log(loss)` above.

    Families apply it to losses that are 1 at chance level, so that one diverging unroll does not
    dominate the mean. It is monotonic and differentiable.
    """
    return jnp.where(loss <= 1.0, loss, 1.0 + jnp.log(jnp.maximum(loss, 1.0)))
