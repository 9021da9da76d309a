"""Adam behind gradient clipping, as it is fastest for networks of a dozen small tensors."""

import jax.numpy as jnp
import optax

from metarl.core.types import Array


def vector_adam(
    learning_rate: optax.ScalarOrSchedule,
    betas: tuple[float, float],
    epsilon: float,
    max_norm: float | None,
) -> optax.GradientTransformation:
    """Adam on all parameters as one vector; tensor by tensor it is six operations for each.

    Args:
      learning_rate: of Adam, or its schedule.
      betas: decay of the first and second moments.
      epsilon: added to the root of the second moment.
      max_norm: global norm to which gradients are clipped; None = they are not.
    """
    adam = optax.adam(learning_rate, *betas, eps=epsilon)
    if max_norm is None:
        return optax.flatten(adam)
    return optax.flatten(optax.chain(_clip_by_norm(max_norm), adam))


def linear_decay(start: float, steps: int | Array) -> optax.Schedule:
    """From `start` to zero over `steps`, which may be traced; optax's wants a Python number."""
    return lambda count: start * (1.0 - jnp.clip(count, 0, steps) / steps)


def _clip_by_norm(most: float) -> optax.GradientTransformation:
    """Clips a vector. Its norm is a product, since XLA on CPU cuts long sums into windows."""

    def clipped(gradient: Array, _: Array | None) -> Array:
        norm = jnp.sqrt(jnp.vdot(gradient, gradient))
        return gradient * (most / jnp.maximum(norm, most))

    return optax.stateless(clipped)
