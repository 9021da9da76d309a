"""Memory of learned optimizers, tensor by tensor: momenta, mean squares, factored mean squares.

The arithmetic is that of `metarl.kernels.lopt_update.moments`; here it is spread over a tree, whose
tensors are checked. What holds for all architectures that use it:

- Moments are float32 whatever the parameters are.
- A number of a gradient that is not finite counts as zero, and one beyond `GRADIENT_LIMIT` as that:
  so one bad batch spoils neither the moments nor, through means over a tensor, its other elements.
- A tensor without elements has no moments, and an empty tree no tensors.
- Tensors that are not of a floating dtype are refused; leave them out with `optax.masked`.
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
    """Makes the moments of a tree of parameters that saw no gradient.

    Args:
      params: floating arrays of any rank and size.
      features: how many averages of each kind there are.

    Returns:
      The tree with `Moments` in place of each tensor, None for those without elements.

    Raises:
      ConfigError: a tensor is not of a floating dtype.
    """
    check_floating(params, "parameter")

    def start(leaf: Array) -> Moments | None:
        if jnp.size(leaf) == 0:
            return None
        return init_moments(jnp.shape(leaf), features.momenta, features.rms, features.factored)

    return jax.tree.map(start, params)


def tensors(
    updates: PyTree, params: PyTree | None, accumulators: PyTree, made_finite: bool = True
) -> tuple[list[Array], list[Array], list[Moments | None]]:
    """Lines up gradients, parameters and moments leaf by leaf; gradients become finite float32.

    With `made_finite` false gradients stay as they are: `lopt_update` makes them so block by block.

    Raises:
      ConfigError: `params` is missing, its structure or shapes are not those of the gradients, or a
        tensor is not of a floating dtype.
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
    """Gives a hand-made transformation the manners of learned ones.

    It is given float32 tensors, of gradients the finite numbers and zero for others, so that its
    memory is float32; its updates get the dtypes of the parameters, or of the gradients where
    `update` is not told the parameters.

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
        finite = jax.tree.map(lambda g: finite_or(g, jnp.float32(0)), _float32(updates))
        moved, state = tx.update(finite, state, None if params is None else _float32(params))
        return jax.tree.map(lambda u, p: u.astype(jnp.result_type(p)), moved, like), state

    return optax.GradientTransformationExtraArgs(init, update)


def check_floating(tree: PyTree, what: str) -> None:
    """Raises ConfigError, naming its path, if some tensor is not of a floating dtype."""
    for path, leaf in zip(leaf_paths(tree), jax.tree.leaves(tree), strict=True):
        dtype = jnp.result_type(leaf)
        if not jnp.issubdtype(dtype, jnp.floating):
            raise ConfigError(
                f"The {what} {path!r} is of dtype {dtype}; learned optimizers move floating "
                "tensors only: leave others out with optax.masked."
            )


def _float32(tree: PyTree) -> PyTree:
    return jax.tree.map(lambda x: jnp.asarray(x, jnp.float32), tree)
