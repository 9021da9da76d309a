"""Update of many tensors; small tensors are batched into shared calls."""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from metarl.kernels.lopt_update.api import check_layers, choose, lopt_apply, lopt_update
from metarl.kernels.lopt_update.features import FeatureSet
from metarl.kernels.lopt_update.moments import Moments, Rates
from metarl.kernels.lopt_update.network import Layer
from metarl.kernels.lopt_update.reference import apply_step
from metarl.kernels.lopt_update.vectors import barrier, lopt_update_vectors

Array = jax.Array


class Call(NamedTuple):
    """Arguments of the update of one tensor; see `metarl.kernels.lopt_update.api.lopt_update`.

    Attributes:
      layers: kernel and bias of each layer; identical array objects in all calls that share them.
      scale: factor of the step.
      parameter, gradient: arrays `[*shape]`.
      moments: accumulators of the tensor.
    """

    layers: Sequence[tuple[Array, Array]]
    scale: Array | float
    parameter: Array
    gradient: Array
    moments: Moments


@dataclass(frozen=True)
class Grouping:
    """Thresholds for batching tensors into one call; larger tensors get a call of their own.

    Batching copies the tensors, so it pays off for small ones only.

    Attributes:
      vector: maximum elements of a tensor of rank 0 or 1 that is packed with others; 0 = none.
      stacked: maximum elements of a tensor of higher rank that is stacked with others of its
        shape; 0 = none.
      row: maximum elements of the rows into which vectors are packed.
    """

    vector: int = 1 << 16
    stacked: int = 1 << 16
    row: int = 128

    def __post_init__(self) -> None:
        for name, least in (("vector", 0), ("stacked", 0), ("row", 1)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} is {getattr(self, name)}. Permitted: {least} and more.")


ONE_BY_ONE = Grouping(vector=0, stacked=0)
"""Grouping in which every tensor has a call of its own."""


def lopt_update_many(
    features: FeatureSet,
    calls: Sequence[Call],
    rates: Rates,
    exponent: float,
    implementation: str | None = None,
    grouping: Grouping | None = None,
) -> list[tuple[Array, Moments]]:
    """Updates many tensors; equals separate calls of `lopt_update` up to rounding.

    Tensors of rank 0 and 1 are packed into rows; the reference updates them on every device, since
    kernels take matrices only. Tensors of equal shape and dtypes are stacked and vmapped.

    Args:
      features, rates, exponent, implementation: arguments of `lopt_update`.
      calls: arguments of each tensor.
      grouping: thresholds for batching; None = the defaults.

    Returns:
      Step and new moments of each tensor.

    Raises:
      ValueError: see `lopt_update`.
    """
    return _made(False, features, calls, rates, exponent, implementation, grouping)


def lopt_apply_many(
    features: FeatureSet,
    calls: Sequence[Call],
    rates: Rates,
    exponent: float,
    implementation: str | None = None,
    grouping: Grouping | None = None,
) -> list[tuple[Array, Moments]]:
    """Updates many parameters; equals separate calls of `lopt_apply` up to rounding.

    Batching, arguments and errors are those of `lopt_update_many`.

    Returns:
      For each tensor `parameter - step`, computed in float32, in the parameter's dtype; and its
      new moments.
    """
    return _made(True, features, calls, rates, exponent, implementation, grouping)


def _made(
    in_place: bool,
    features: FeatureSet,
    calls: Sequence[Call],
    rates: Rates,
    exponent: float,
    implementation: str | None,
    grouping: Grouping | None,
) -> list[tuple[Array, Moments]]:
    grouping = Grouping() if grouping is None else grouping
    single = lopt_apply if in_place else lopt_update
    choose(implementation)  # raises even if there are no calls
    for call in calls:
        check_layers(features, call.layers)

    def one(call: Call) -> tuple[Array, Moments]:
        return single(features, *call, rates, exponent, implementation)

    def vectors(group: Sequence[Call]) -> list[tuple[Array, Moments]]:
        layers, shared = _layers(group)
        scales = jnp.stack([jnp.float32(call.scale) for call in group])
        tensors = zip(*(call[2:] for call in group), strict=True)
        arguments = (layers, shared, scales, *tensors, rates, exponent, grouping.row)
        made = lopt_update_vectors(features, *arguments)
        if not in_place:
            return made
        return [
            (apply_step(call.parameter, s), m) for call, (s, m) in zip(group, made, strict=True)
        ]

    groups: dict[Hashable, list[int]] = {}
    for i, call in enumerate(calls):
        groups.setdefault(_key(call, grouping, i), []).append(i)
    results: list[Any] = [None] * len(calls)
    for places in groups.values():
        group = [calls[i] for i in places]
        if len(group) == 1:
            made = [one(group[0])]
        elif len(group[0].parameter.shape) < 2:
            made = vectors(group)
        else:
            made = _stacked(one, group)
        for i, result in zip(places, made, strict=True):
            results[i] = result
    return results


def _key(call: Call, grouping: Grouping, place: int) -> Hashable:
    """Returns the group of a call; calls of one group are batched."""
    p, widths = call.parameter, tuple(jnp.shape(bias) for _, bias in call.layers)
    if p.ndim < 2:
        return ("vector", widths) if prod(p.shape) <= grouping.vector else place
    if prod(p.shape) <= grouping.stacked:
        return p.shape, p.dtype, call.gradient.dtype, widths
    return place


def _stacked(
    one: Callable[[Call], tuple[Array, Moments]], group: Sequence[Call]
) -> list[tuple[Array, Moments]]:
    layers, shared = _layers(group)
    rest = [call._replace(layers=(), scale=jnp.float32(call.scale)) for call in group]
    stacked = jax.tree.map(lambda *x: jnp.stack(x), *rest)

    def member(layers: list[Layer], call: Call) -> tuple[Array, Moments]:
        return one(call._replace(layers=layers))

    made = barrier(jax.vmap(member, (None if shared else 0, 0))(layers, barrier(stacked)))
    return [jax.tree.map(lambda x, i=i: x[i], made) for i in range(len(group))]


def _layers(group: Sequence[Call]) -> tuple[list[Layer], bool]:
    """Returns shared layers and True, or the layers of all calls stacked and False."""
    first = [Layer(*layer) for layer in group[0].layers]
    others = [[Layer(*layer) for layer in call.layers] for call in group[1:]]
    leaves = jax.tree.leaves(first)
    if all(a is b for x in others for a, b in zip(leaves, jax.tree.leaves(x), strict=True)):
        return first, True
    return jax.tree.map(lambda *x: jnp.stack(x), first, *others), False
