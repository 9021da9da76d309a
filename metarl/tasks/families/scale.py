"""The scale on which losses of different families compare."""

import jax.numpy as jnp

from metarl.core.types import Array


def compress(loss: Array) -> Array:
    """The loss up to 1, and `1 + log(loss)` above.

    Families call it with a loss of which 1 means "nothing learned", so that one life that blows up
    does not outweigh all the others, and order and smoothness are kept.
    """
    return jnp.where(loss <= 1.0, loss, 1.0 + jnp.log(jnp.maximum(loss, 1.0)))
