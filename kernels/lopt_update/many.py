"""The update of many tensors, of which small ones share calls."""

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
from metarl.kernels.lopt_update.reference import moved
from metarl.kernels.lopt_update.vectors import apart, lopt_update_vectors

Array = jax.Array


class Call(NamedTuple):
    """What the update of one tensor is told; see `metarl.kernels.lopt_update.api.lopt_update`.

    Attributes:
      layers: kernel and bias of each layer; the very same arrays in every call if they are shared.
      scale: of the step.
      parameter, gradient: `[*shape]`.
      moments: of the tensor.
    """

    layers: Sequence[tuple[Array, Array]]
    scale: Array | float
    parameter: Array
    gradient: Array
    moments: Moments


@dataclass(frozen=True)
class Grouping:
    """Which tensors share a call; larger ones have one to themselves, since sharing copies them.

    Attributes:
      vector: most elements of a tensor of rank 0 or 1 that is joined with others; 0 = none is.
      stacked: most elements of a tensor of higher rank that is stacked with others of its shape; 0
        = none is.
      row: most elements of the rows in which vectors are laid out.
    """

    vector: int = 1 << 16
    stacked: int = 1 << 16
    row: int = 128

    def __post_init__(self) -> None:
        for name, least in (("vector", 0), ("stacked", 0), ("row", 1)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} is {getattr(self, name)}. Permitted: {least} and more.")


ONE_BY_ONE = Grouping(vector=0, stacked=0)
"""Every tensor has a call of its own."""


def lopt_update_many(
    features: FeatureSet,
    calls: Sequence[Call],
    rates: Rates,
    exponent: float,
    implementation: str | None = None,
    grouping: Grouping | None = None,
) -> list[tuple[Array, Moments]]:
    """Updates tensors as `lopt_update` does one by one, to rounding.

    Tensors of rank 0 and 1 are joined into rows whatever their lengths, on every device by the
    reference's arithmetic, since kernels take matrices only. Tensors of equal shape and dtypes are
    stacked and vmapped over.

    Args:
      features, rates, exponent, implementation: see `lopt_update`.
      calls: one a tensor.
      grouping: who shares; None = the default sizes.

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
    """Moves tensors by their steps, as `lopt_apply` does one by one.

    See `lopt_update_many` for who shares a call, for arguments and errors.

    Returns:
      Of each tensor `parameter - step`, computed in float32, in the parameter's dtype; and its new
      moments.
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
    choose(implementation)  # refused even if no tensor asks for it
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
        return [(moved(call.parameter, s), m) for call, (s, m) in zip(group, made, strict=True)]

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
    """Calls with equal keys are made together."""
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

    made = apart(jax.vmap(member, (None if shared else 0, 0))(layers, apart(stacked)))
    return [jax.tree.map(lambda x, i=i: x[i], made) for i in range(len(group))]


def _layers(group: Sequence[Call]) -> tuple[list[Layer], bool]:
    """The layers that all calls share, or those of each stacked; and whether they share them."""
    first = [Layer(*layer) for layer in group[0].layers]
    others = [[Layer(*layer) for layer in call.layers] for call in group[1:]]
    leaves = jax.tree.leaves(first)
    if all(a is b for x in others for a, b in zip(leaves, jax.tree.leaves(x), strict=True)):
        return first, True
    return jax.tree.map(lambda *x: jnp.stack(x), first, *others), False
