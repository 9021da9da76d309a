"""Maximal-update parametrization (muP) of an optimizer: one multiplier for each tensor.

Yang et al. 2022, arXiv:2203.03466; for learned optimizers ("muLO") Therien et al. 2024,
arXiv:2406.00153. An optimizer meta-trained on narrow networks then transfers to wide ones. The
network needs muP initialization and output scaling too.
"""

from collections.abc import Mapping
from math import prod
from types import MappingProxyType

import jax
import jax.numpy as jnp
import optax

from metarl.core.errors import ConfigError, check_positive, nearest
from metarl.core.types import PyTree, Theta
from metarl.optimizers.parameters import ParameterInfo, leaf_paths
from metarl.optimizers.protocol import InnerOptimizer, Steps


def scale_by_multipliers(multipliers: PyTree) -> optax.GradientTransformationExtraArgs:
    """Multiplies the update of each tensor by a scalar.

    Args:
      multipliers: tree of scalars with the structure of the parameters; or a tuple of scalars in
        the order of the leaves.

    Raises:
      ConfigError: in `update`, the number of multipliers differs from the number of tensors.
    """
    factors = jax.tree.leaves(multipliers)

    def update(
        updates: PyTree, state: optax.OptState, params: PyTree | None = None, **unused: object
    ) -> tuple[PyTree, optax.OptState]:
        del params, unused
        leaves, treedef = jax.tree.flatten(updates)
        if len(leaves) != len(factors):
            raise ConfigError(f"There are {len(factors)} multipliers for {len(leaves)} tensors.")
        scaled = [
            (leaf * jnp.asarray(factor, jnp.float32)).astype(leaf.dtype)
            for leaf, factor in zip(leaves, factors, strict=True)
        ]
        return jax.tree.unflatten(treedef, scaled), state

    return optax.GradientTransformationExtraArgs(lambda params: optax.EmptyState(), update)


def mup(optimizer: InnerOptimizer) -> InnerOptimizer:
    """Wraps an optimizer so that its updates are multiplied by `ParameterInfo.multiplier`.

    Theta is that of `optimizer`.
    """

    def transformation(
        theta: Theta, info: tuple[ParameterInfo, ...], num_steps: Steps
    ) -> optax.GradientTransformationExtraArgs:
        factors = tuple(about.multiplier for about in info)
        return optax.chain(
            optimizer.transformation(theta, info, num_steps), scale_by_multipliers(factors)
        )

    return InnerOptimizer(
        f"mup_{optimizer.name}", optimizer.init, transformation, optimizer.needs_activity
    )


def fan_in_multipliers(
    params: PyTree,
    hidden: tuple[str, ...],
    scale: float = 1.0,
    fan_in: Mapping[str, int] = MappingProxyType({}),
) -> PyTree:
    """Returns muLO's multipliers: `scale / fan_in` for hidden matrices, 1 for all other tensors.

    Other tensors are matrices of input and output layers, biases, embeddings and normalizations.

    Args:
      params: parameters, or their shapes.
      hidden: paths of hidden matrices, such as `"params/Dense_1/kernel"`.
      scale: multiplier of the hidden learning rate.
      fan_in: input units of a matrix by path, where they differ from the product of all axes but
        the last.

    Returns:
      A tree like `params` of floats.

    Raises:
      ConfigError: a path does not exist, or has fewer than two axes.
    """
    check_positive(scale=scale)
    paths, leaves = leaf_paths(params), jax.tree.leaves(params)
    shapes = {path: jnp.shape(leaf) for path, leaf in zip(paths, leaves, strict=True)}
    for path in (*hidden, *fan_in):
        if path not in shapes:
            raise ConfigError(f"There is no tensor {path!r}.{nearest(path, shapes)}")
        if len(shapes[path]) < 2:
            raise ConfigError(f"{path!r} has the shape {shapes[path]}: it is not a hidden matrix.")
    factors = [
        scale / fan_in.get(path, prod(shape[:-1])) if path in hidden else 1.0
        for path, shape in shapes.items()
    ]
    return jax.tree.unflatten(jax.tree.structure(params), factors)
