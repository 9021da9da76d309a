"""Accumulators of learned optimizers over trees: momenta, mean squares, factored mean squares.

The arithmetic is that of `metarl.kernels.lopt_update.moments`. This module maps it over trees and
checks the tensors. For all architectures that use it:

- Moments are float32, whatever the dtype of the parameters.
- Non-finite elements of a gradient count as zero, others are clipped to `GRADIENT_LIMIT`. So a bad
  batch corrupts neither the moments nor, through means over a tensor, the other elements.
- Tensors without elements have no moments.
- Tensors of a non-floating dtype raise an error; exclude them with `optax.masked`.
"""

from typing import Any

import jax
import jax.numpy as jnp
import optax

from metarl.core.errors import ConfigError
from metarl.core.numerics import finite_or
from metarl.core.types import Array, PyTree
from metarl.kernels.lopt_update import FeatureSet, Moments, finite, init_moments
from metarl.optimizers.parameters import leaf_paths


def init_accumulators(params: PyTree, features: FeatureSet) -> PyTree:
    """Returns the initial moments of a tree of parameters.

    Args:
      params: floating arrays of any rank and size.
      features: feature set, which has the numbers of averages of each kind.

    Returns:
      The tree with `Moments` in place of each tensor, None for tensors without elements.

    Raises:
      ConfigError: a tensor is not of a floating dtype.
    """
    check_floating(params, "parameter")

    def init_moments_of(leaf: Array) -> Moments | None:
        if jnp.size(leaf) == 0:
            return None
        return init_moments(jnp.shape(leaf), features.momenta, features.rms, features.factored)

    return jax.tree.map(init_moments_of, params)


def aligned_leaves(
    updates: PyTree, params: PyTree | None, accumulators: PyTree, made_finite: bool = True
) -> tuple[list[Array], list[Array], list[Moments | None]]:
    """Flattens gradients, parameters and moments into aligned lists of leaves, and checks them.

    With `made_finite`, gradients are cast to float32 and non-finite elements become zero; else they
    stay unchanged, for `lopt_update`, which does so block by block.

    Raises:
      ConfigError: `params` is missing, its structure or shapes differ from those of the gradients,
        or a tensor is not of a floating dtype.
    """
    if params is None:
        raise ConfigError("update of a learned optimizer lacks the argument params.")
    treedef: Any
    structure: Any
    gradients, structure = jax.tree.flatten(updates)
    leaves, treedef = jax.tree.flatten(params)
    if structure != treedef:
        raise ConfigError(f"Gradients have the structure {structure}, parameters {treedef}.")
    check_floating(params, "parameter")
    check_floating(updates, "gradient")
    for path, g, p in zip(leaf_paths(params), gradients, leaves, strict=True):
        if jnp.shape(g) != jnp.shape(p):
            raise ConfigError(
                f"The gradient of {path!r} has shape {jnp.shape(g)}, the parameter {jnp.shape(p)}."
            )
    moments = treedef.flatten_up_to(accumulators)
    if made_finite:
        gradients = [finite(g) for g in gradients]
    return [jnp.asarray(g) for g in gradients], leaves, moments


def in_float32(tx: optax.GradientTransformation) -> optax.GradientTransformationExtraArgs:
    """Wraps an optax transformation with the dtype and finiteness rules of learned optimizers.

    The transformation receives float32 tensors, with zero for non-finite elements of gradients, so
    its state is float32. Updates have the dtypes of the parameters, or of the gradients if `update`
    receives no parameters.

    Raises:
      ConfigError: in `init` and `update`, a tensor is not of a floating dtype.
    """

    def init(params: PyTree) -> optax.OptState:
        check_floating(params, "parameter")
        return tx.init(_float32(params))

    def update(
        updates: PyTree, state: optax.OptState, params: PyTree | None = None, **unused: object
    ) -> tuple[PyTree, optax.OptState]:
        del unused
        check_floating(updates, "gradient")
        like = updates if params is None else params
        finite_updates = jax.tree.map(lambda g: finite_or(g, jnp.float32(0)), _float32(updates))
        new_updates, state = tx.update(
            finite_updates, state, None if params is None else _float32(params)
        )
        return jax.tree.map(lambda u, p: u.astype(jnp.result_type(p)), new_updates, like), state

    return optax.GradientTransformationExtraArgs(init, update)


def check_floating(tree: PyTree, what: str) -> None:
    """Raises ConfigError with the path of a tensor that is not of a floating dtype."""
    for path, leaf in zip(leaf_paths(tree), jax.tree.leaves(tree), strict=True):
        dtype = jnp.result_type(leaf)
        if not jnp.issubdtype(dtype, jnp.floating):
            raise ConfigError(
                f"The {what} {path!r} is of dtype {dtype}; learned optimizers update "
                "floating tensors only: exclude others with optax.masked."
            )


def _float32(tree: PyTree) -> PyTree:
    return jax.tree.map(lambda x: jnp.asarray(x, jnp.float32), tree)
