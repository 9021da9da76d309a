"""The optimizer of DiscoRL agents."""

from typing import Any

import jax
import jax.numpy as jnp
import optax

from metarl.core.errors import check_positive
from metarl.core.types import PyTree


def disco_descent(
    learning_rate: float = 3e-4, max_update: float = 1.0
) -> optax.GradientTransformation:
    """Adam whose updates are clipped elementwise before they are scaled by the learning rate.

    No meta-gradient flows through its denominator, whose derivative is unbounded where gradients
    vanish.

    Args:
      learning_rate: learning rate.
      max_update: bound of the elementwise update, in units of the learning rate.

    Reference: Oh et al. 2025, Nature 648:312, methods; Kingma and Ba 2015, arXiv:1412.6980.
    """
    check_positive(learning_rate=learning_rate, max_update=max_update)
    return optax.chain(
        _adam_with_constant_denominator(),
        optax.clip(max_update),
        optax.scale(-learning_rate),
    )


def _adam_with_constant_denominator(
    b1: float = 0.9, b2: float = 0.999, eps: float = 1e-8
) -> optax.GradientTransformation:
    adam = optax.scale_by_adam(b1, b2, eps)

    def update(
        updates: PyTree, state: Any, params: PyTree | None = None
    ) -> tuple[PyTree, optax.OptState]:
        _, state = adam.update(updates, state, params)
        state = state._replace(nu=jax.lax.stop_gradient(state.nu))
        mean = optax.tree.bias_correction(state.mu, b1, state.count)
        square = optax.tree.bias_correction(state.nu, b2, state.count)
        scaled = jax.tree.map(lambda m, v: m / (jnp.sqrt(v) + eps), mean, square)
        return scaled, state

    return optax.GradientTransformation(adam.init, update)
