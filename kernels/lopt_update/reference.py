"""The update in plain jnp, folded: the specification of this operation.

Dividing channels by their root mean square is multiplying rows of the first kernel, and channels
that vary only along rows or columns pass the first layer before they are spread over the tensor. So
no array of all channels of all elements ever exists.
"""

from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import Any

import jax
import jax.numpy as jnp

from metarl.kernels.lopt_update.features import FeatureSet, Ingredients, bounded, ingredients
from metarl.kernels.lopt_update.moments import Moments, Rates, update_moments
from metarl.kernels.lopt_update.network import Design, Layer, Weights, product, steps
from metarl.kernels.lopt_update.tiles import partial_means

Array = jax.Array


def lopt_update(
    features: FeatureSet,
    layers: Sequence[Layer],
    scale: Array | float,
    parameter: Array,
    gradient: Array,
    moments: Moments,
    rates: Rates,
    exponent: float,
) -> tuple[Array, Moments]:
    """See `metarl.kernels.lopt_update.api.lopt_update`."""
    p, g = parameter.astype(jnp.float32), bounded(features, gradient)
    moments = update_moments(moments, g, rates)
    seen = ingredients(features, p, g, moments)
    return steps(*fold(features, layers, exponent, seen), seen) * scale, moments


def moved(parameter: Array, step: Array) -> Array:
    """Subtracts the step from the parameter in float32; in the parameter's dtype."""
    return (parameter.astype(jnp.float32) - step).astype(parameter.dtype)


def ends(
    features: FeatureSet, *arguments: Any, in_place: bool, update: Any = lopt_update
) -> tuple[Array, Moments]:
    """The update; in place, of the parameter moved by its step instead of the step."""
    step, moments = update(features, *arguments)
    return (moved(arguments[2], step) if in_place else step), moments


def with_derivative(
    features: FeatureSet,
    exponent: float,
    in_place: bool,
    run: Callable[..., tuple[Array, Moments]],
) -> Callable[..., tuple[Array, Moments]]:
    """Gives an update the reference's derivative.

    Args:
      run: of `layers, scale, parameter, gradient, moments, rates`; in place or not, as is said.
    """

    def plain(*arguments: Any) -> tuple[Array, Moments]:
        return ends(features, *arguments, exponent, in_place=in_place)

    def forward(*arguments: Any) -> tuple[tuple[Array, Moments], Any]:
        return update(*arguments), arguments

    def backward(arguments: Any, cotangents: Any) -> Any:
        return jax.vjp(plain, *arguments)[1](cotangents)

    update = jax.custom_vjp(run)
    update.defvjp(forward, backward)
    return update


def fold(
    features: FeatureSet,
    layers: Sequence[Layer],
    exponent: float,
    seen: Ingredients,
    averages: Callable[..., Array] = partial_means,
) -> tuple[Design, Weights]:
    """Takes out of the first layer all that can be known before the elements.

    Args:
      averages: who averages the squares of channels that vary over elements.
    """
    first, *others = layers
    shape = seen.gradient.shape
    kinds = features.make(seen)
    starts = [0, *accumulate(len(kind) for kind in kinds)]
    by_shape: dict[tuple[int, ...], list[int]] = {}
    for i, kind in enumerate(kinds):
        by_shape.setdefault(kind.shape[1:], []).append(i)

    def kernel_of(places: Sequence[int]) -> Array:
        return jnp.concatenate([first.kernel[starts[i] : starts[i + 1]] for i in places])

    varying = by_shape.pop(shape, [])
    rest = [jnp.reshape(first.bias, (-1,) + (1,) * len(shape))]
    for places in by_shape.values():
        inputs = jnp.concatenate([kinds[i] for i in places])
        means = jnp.mean(inputs * inputs, _normalised_axes(features, shape, 1), keepdims=True)
        inputs = inputs * jax.lax.rsqrt(features.normalizer_eps + means)
        rest.append(product(kernel_of(places), inputs))

    def squares(part: Ingredients) -> list[Array]:
        made = features.make(part)
        return [made[i] * made[i] for i in varying]

    means = averages(squares, seen, shape, _normalised_axes(features, shape, 0))
    scales: Array | None = jax.lax.rsqrt(features.normalizer_eps + means)
    kernel = kernel_of(varying)
    if scales is not None and scales.size == len(kernel):
        kernel, scales = kernel * scales.reshape(-1, 1), None
    return Design(features, tuple(varying), exponent), Weights(kernel, scales, rest, others)


def _normalised_axes(features: FeatureSet, shape: Sequence[int], lead: int) -> tuple[int, ...]:
    """Lists the axes of a normaliser's mean, after `lead` others."""
    rank = len(shape)
    first = 0 if features.normalizer_axes is None else max(rank - features.normalizer_axes, 0)
    return tuple(range(lead + first, lead + rank))
