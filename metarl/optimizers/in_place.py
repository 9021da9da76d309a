"""Updates with buffer donation: parameters and state are overwritten."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import optax

from metarl.core.types import PyTree


class Apply(Protocol):
    """Function that updates parameters and state in place."""

    def __call__(
        self, params: PyTree, grads: PyTree, state: PyTree, **extra_args: Any
    ) -> tuple[PyTree, PyTree]:
        """Returns new parameters and state.

        Args:
          params: parameters; their buffers are donated.
          grads: gradients.
          state: state of the optimizer; its buffers are donated.
          **extra_args: extra arguments of `update`, such as `value`.
        """
        ...


@dataclass(frozen=True)
class FusedUpdate:
    """An optax `update` function that can also return new parameters.

    Attributes:
      make: function `(in_place, grads, state, params, **extra_args) -> (results, state)`; the
        results are updates, or with `in_place` the new parameters.
    """

    make: Callable[..., tuple[PyTree, PyTree]]

    def __call__(
        self, updates: PyTree, state: PyTree, params: PyTree | None = None, **extra_args: Any
    ) -> tuple[PyTree, PyTree]:
        """Returns updates and state."""
        return self.make(False, updates, state, params, **extra_args)


class TransformationWithApply(optax.GradientTransformationExtraArgs):
    """An optax transformation with an additional method `apply` that returns new parameters.

    It stores only `init` and `update`, so it survives `jax.tree.map`, `copy` and `_replace`.
    """

    def apply(
        self, params: PyTree, grads: PyTree, state: PyTree, **extra_args: Any
    ) -> tuple[PyTree, PyTree]:
        """Returns new parameters and state; most efficient in a program that donates buffers.

        If `update` is a `FusedUpdate`, `parameter - step` is computed in float32 and rounded once
        to the parameter's dtype. Otherwise, and if a parameter is wider than float32, `apply` is
        `update` followed by `optax.apply_updates`.

        Args:
          params, grads, state: parameters, gradients, and the state from `init`.
          **extra_args: extra arguments of `update`, such as `value`.
        """
        if isinstance(self.update, FusedUpdate) and not _wide(params):
            return self.update.make(True, grads, state, params, **extra_args)
        updates, state = self.update(grads, state, params, **extra_args)
        return optax.apply_updates(params, updates), state


def with_apply(
    init: Callable[[PyTree], PyTree], make: Callable[..., tuple[PyTree, PyTree]]
) -> TransformationWithApply:
    """Returns a transformation with `apply` from one function; see `FusedUpdate` for `make`."""
    return TransformationWithApply(init, FusedUpdate(make))


def in_place(tx: optax.GradientTransformation) -> Apply:
    """Returns a compiled update that overwrites parameters and state (buffer donation).

    It is `TransformationWithApply.apply` in one compiled program that donates both: peak memory is
    that of parameters, state, gradients and the tensors in progress. The donated arrays cannot be
    used afterwards. The kernels of `lopt_update` write parameters in place. For a wrapped optimizer
    (`optax.chain`, `optax.masked`), or one that transforms a kernel's output, updates are added
    instead. In a program of your own that donates, call `apply` of the transformation.

    Args:
      tx: transformation whose state has its final dtypes after `init`.

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
    """Returns whether some parameter is wider than float32."""
    return any(jnp.result_type(p).itemsize > 4 for p in jax.tree.leaves(params))
