"""Updates that are written into the buffers of what they update."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import jax
import jax.numpy as jnp
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


@dataclass(frozen=True)
class FusedUpdate:
    """optax's `update`, of which there is a form that moves the parameters itself.

    Attributes:
      make: `(in_place, grads, state, params, **told) -> (ends, state)`; the ends are updates, or,
        `in_place`, the new parameters.
    """

    make: Callable[..., tuple[PyTree, PyTree]]

    def __call__(
        self, updates: PyTree, state: PyTree, params: PyTree | None = None, **told: Any
    ) -> tuple[PyTree, PyTree]:
        """Returns updates and state."""
        return self.make(False, updates, state, params, **told)


class TransformationWithApply(optax.GradientTransformationExtraArgs):
    """An optax transformation with a second form, `apply`, which ends with the new parameters.

    It is the pair of `init` and `update` and nothing else, so that what takes it apart and makes it
    anew (`jax.tree.map`, `copy`, `_replace`) loses nothing.
    """

    def apply(
        self, params: PyTree, grads: PyTree, state: PyTree, **told: Any
    ) -> tuple[PyTree, PyTree]:
        """Returns new parameters and state; for programs of your own, and best in donated ones.

        If `update` is a `FusedUpdate`, a parameter is its old self minus its step in float32,
        rounded once to its dtype. Otherwise, and if a parameter is wider than float32, `apply` is
        `update` and `optax.apply_updates`.

        Args:
          params, grads, state: of which `state` is from `init`.
          **told: what else the optimizer is told, such as `value`.
        """
        if isinstance(self.update, FusedUpdate) and not _wide(params):
            return self.update.make(True, grads, state, params, **told)
        updates, state = self.update(grads, state, params, **told)
        return optax.apply_updates(params, updates), state


def with_apply(
    init: Callable[[PyTree], PyTree], make: Callable[..., tuple[PyTree, PyTree]]
) -> TransformationWithApply:
    """Makes a transformation, and its `apply`, of one function; see `FusedUpdate` for `make`."""
    return TransformationWithApply(init, FusedUpdate(make))


def in_place(tx: optax.GradientTransformation) -> Apply:
    """Makes the form of an optimizer that overwrites parameters and state, beside optax's.

    It is `TransformationWithApply.apply` in one compiled program that donates both: the largest
    memory is that of parameters, state and gradients, and of the tensors that are being worked on.
    What was given cannot be used again. The kernels of `lopt_update` write a parameter into its
    place themselves; of an optimizer that is wrapped (`optax.chain`, `optax.masked`), or does
    something with what a kernel made, the updates are added. Inside a program of your own that
    donates, `apply` of the transformation does the same.

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
    full = TransformationWithApply(*optax.with_extra_args_support(tx))
    compiled: Apply = jax.jit(full.apply, donate_argnums=(0, 2))
    return compiled


def _wide(params: PyTree) -> bool:
    """Says whether rounding to float32 would lose something of a parameter."""
    return any(jnp.result_type(p).itemsize > 4 for p in jax.tree.leaves(params))
