"""Updates that are written into the buffers of what they update."""

from typing import Any, Protocol

import jax
import optax

from metarl.core.types import PyTree


class Apply(Protocol):
    """An update that ends with the new parameters."""

    def __call__(
        self, params: PyTree, grads: PyTree, state: PyTree, **told: Any
    ) -> tuple[PyTree, PyTree]:
        """Returns new parameters and state.

        Args:
          params: parameters; their buffers are given away.
          grads: gradients.
          state: of the optimizer; its buffers are given away.
          **told: what else the optimizer is told, such as `value`.
        """
        ...


def in_place(tx: optax.GradientTransformation) -> Apply:
    """Makes the form of an optimizer that overwrites parameters and state, beside optax's.

    It is `update` and `optax.apply_updates` in one compiled program that donates both: the largest
    memory is that of parameters, state and gradients, and of the tensors that are being worked on.
    What was given cannot be used again. Inside a program of your own the optax form does the same,
    if that program donates.

    Args:
      tx: a transformation whose state has its final dtypes from the start.

    Example:
      >>> import jax.numpy as jnp
      >>> apply, tx = in_place(optax.sgd(0.5)), optax.sgd(0.5)
      >>> params = jnp.ones(2)
      >>> params, state = apply(params, jnp.ones(2), tx.init(params))
      >>> params.tolist()
      [0.5, 0.5]
    """
    full = optax.with_extra_args_support(tx)

    def apply(params: PyTree, grads: PyTree, state: PyTree, **told: Any) -> tuple[PyTree, PyTree]:
        updates, state = full.update(grads, state, params, **told)
        return optax.apply_updates(params, updates), state

    compiled: Apply = jax.jit(apply, donate_argnums=(0, 2))
    return compiled
