"""Adam with gradient clipping on one flat vector, fast for networks of many small tensors."""

import jax.numpy as jnp
import optax

from metarl.core.types import Array


def vector_adam(
    learning_rate: optax.ScalarOrSchedule,
    betas: tuple[float, float],
    epsilon: float,
    max_norm: float | None,
) -> optax.GradientTransformation:
    """Returns Adam on all parameters as one vector, which saves six operations per tensor.

    Args:
      learning_rate: learning rate, or its schedule.
      betas: decays of the first and second moments.
      epsilon: constant added to the root of the second moment.
      max_norm: maximum global norm of the gradient; None = no clipping.
    """
    adam = optax.adam(learning_rate, *betas, eps=epsilon)
    if max_norm is None:
        return optax.flatten(adam)
    return optax.flatten(optax.chain(_clip_by_norm(max_norm), adam))


def linear_decay(start: float, steps: int | Array) -> optax.Schedule:
    """Linear schedule from `start` to zero over `steps`, which unlike optax's may be traced."""
    return lambda count: start * (1.0 - jnp.clip(count, 0, steps) / steps)


def _clip_by_norm(most: float) -> optax.GradientTransformation:
    """Clips a vector by its norm, computed as a product: XLA on CPU splits long sums."""

    def clipped(gradient: Array, _: Array | None) -> Array:
        norm = jnp.sqrt(jnp.vdot(gradient, gradient))
        return gradient * (most / jnp.maximum(norm, most))

    return optax.stateless(clipped)
