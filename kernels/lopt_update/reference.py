"""The update in plain jnp, folded: the specification of this operation.

Dividing channels by their root mean square is multiplying rows of the first kernel, and channels
that vary only along rows or columns pass the first layer before they are spread over the tensor. So
no array of all channels of all elements ever exists.

On CPU, networks of up to `UNROLLED_WIDTH` units are spelt out element by element, which compiles to
one loop over the tensor; wider ones, and the derivatives of all, are matrix products on tiles that
fit into the cache.
"""

from collections.abc import Sequence
from functools import partial
from itertools import accumulate
from math import prod
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from metarl.kernels.lopt_update.features import FeatureSet, Ingredients, ingredients
from metarl.kernels.lopt_update.moments import Moments, Rates, update_moments
from metarl.kernels.lopt_update.tiles import over_tiles, partial_means

Array = jax.Array

UNROLLED_WIDTH = 8
"""Up to this many hidden units layers are spelt out."""


class Layer(NamedTuple):
    """An affine layer: kernel `[in, out]`, bias `[out]`."""

    kernel: Array
    bias: Array


class Folded(NamedTuple):
    """The first layer of one tensor's network.

    Attributes:
      varying: places, in the feature set, of the kinds of channels that vary over elements.
      kernel: the rows of these C channels, `[C, H]`.
      scales: by which to multiply these channels first, `[C, ...]`; None = they are in the kernel.
      rest: what bias and other channels contribute, arrays `[H, ...]` that broadcast against the
        tensor.
    """

    varying: list[int]
    kernel: Array
    scales: Array | None
    rest: list[Array]


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
    p, g = parameter.astype(jnp.float32), gradient.astype(jnp.float32)
    if features.gradient_limit is not None:
        g = jnp.clip(g, -features.gradient_limit, features.gradient_limit)
    moments = update_moments(moments, g, rates)
    seen = ingredients(features, p, g, moments)
    first, *others = layers
    folded = fold(features, first, seen)
    return steps(features, folded, others, exponent, seen) * scale, moments


def steps(
    features: FeatureSet,
    folded: Folded,
    layers: Sequence[Layer],
    exponent: float,
    seen: Ingredients,
) -> Array:
    """Applies the network, whose layers after the first are `layers`; before the scale."""
    if folded.kernel.shape[1] > UNROLLED_WIDTH:
        return _products(features, folded, layers, exponent, seen)
    varying = tuple(folded.varying)
    return _narrow(features, varying, exponent, folded.kernel, folded[2:], layers, seen)


def moved(parameter: Array, step: Array) -> Array:
    """Subtracts the step from the parameter in float32; in the parameter's dtype."""
    return (parameter.astype(jnp.float32) - step).astype(parameter.dtype)


def fold(features: FeatureSet, layer: Layer, seen: Ingredients) -> Folded:
    """Takes out of the first layer all that can be known before the elements."""
    shape = seen.gradient.shape
    kinds = features.make(seen)
    starts = [0, *accumulate(len(kind) for kind in kinds)]
    by_shape: dict[tuple[int, ...], list[int]] = {}
    for i, kind in enumerate(kinds):
        by_shape.setdefault(kind.shape[1:], []).append(i)

    def kernel_of(places: Sequence[int]) -> Array:
        return jnp.concatenate([layer.kernel[starts[i] : starts[i + 1]] for i in places])

    varying = by_shape.pop(shape, [])
    rest = [jnp.reshape(layer.bias, (-1,) + (1,) * len(shape))]
    for places in by_shape.values():
        inputs = jnp.concatenate([kinds[i] for i in places])
        means = jnp.mean(inputs * inputs, _normalised_axes(features, shape, 1), keepdims=True)
        inputs = inputs * jax.lax.rsqrt(features.normaliser_eps + means)
        rest.append(_product(kernel_of(places), inputs))

    def squares(part: Ingredients) -> list[Array]:
        made = features.make(part)
        return [made[i] * made[i] for i in varying]

    means = partial_means(squares, seen, shape, _normalised_axes(features, shape, 0))
    scales = jax.lax.rsqrt(features.normaliser_eps + means)
    kernel = kernel_of(varying)
    if scales.size == len(kernel):
        return Folded(varying, kernel * scales.reshape(-1, 1), None, rest)
    return Folded(varying, kernel, scales, rest)


def _normalised_axes(features: FeatureSet, shape: Sequence[int], lead: int) -> tuple[int, ...]:
    """Lists the axes of a normaliser's mean, after `lead` others."""
    rank = len(shape)
    first = 0 if features.normaliser_axes is None else max(rank - features.normaliser_axes, 0)
    return tuple(range(lead + first, lead + rank))


def varying_channels(
    features: FeatureSet, folded: Folded, seen: Ingredients, scales: Array | None
) -> list[Array]:
    """Makes the channels that vary over elements, `[K, ...]` a kind, scaled if need be."""
    made = features.make(seen)
    kinds = [made[i] for i in folded.varying]
    if scales is None:
        return kinds
    ends = accumulate(len(kind) for kind in kinds)
    return [kind * scales[end - len(kind) : end] for end, kind in zip(ends, kinds, strict=True)]


@partial(jax.custom_vjp, nondiff_argnums=(0, 1, 2))
def _narrow(
    features: FeatureSet,
    varying: tuple[int, ...],
    exponent: float,
    kernel: Array,
    before: tuple[Array | None, list[Array]],
    layers: Sequence[Layer],
    seen: Ingredients,
) -> Array:
    """Spelt out forward, matrix products back.

    The derivative of what is spelt out has a sum over the tensor for every weight, into each of
    which XLA draws the whole network again: it compiles for minutes.
    """
    folded = Folded(list(varying), kernel, *before)
    return _unrolled(features, folded, layers, exponent, seen)


def _narrow_forward(
    features: FeatureSet, varying: tuple[int, ...], exponent: float, *arguments: Any
) -> tuple[Array, Any]:
    return _narrow(features, varying, exponent, *arguments), arguments


def _narrow_backward(
    features: FeatureSet,
    varying: tuple[int, ...],
    exponent: float,
    arguments: Any,
    cotangent: Array,
) -> Any:
    def products(kernel: Array, before: Any, layers: Sequence[Layer], seen: Ingredients) -> Array:
        folded = Folded(list(varying), kernel, *before)
        return _products(features, folded, layers, exponent, seen)

    return jax.vjp(products, *arguments)[1](cotangent)


_narrow.defvjp(_narrow_forward, _narrow_backward)


def _unrolled(
    features: FeatureSet,
    folded: Folded,
    layers: Sequence[Layer],
    exponent: float,
    seen: Ingredients,
) -> Array:
    """Makes the steps element by element, one array a unit."""
    kinds = varying_channels(features, folded, seen, folded.scales)
    channels = [channel for kind in kinds for channel in kind]
    units: list[Array] = []
    for j in range(folded.kernel.shape[1]):
        unit = folded.rest[0][j]
        for contribution in folded.rest[1:]:
            unit = unit + contribution[j]
        for i, channel in enumerate(channels):
            unit = unit + folded.kernel[i, j] * channel
        units.append(unit)
    for layer in layers[:-1]:
        units = _spelt_out(layer, units, layer.bias.shape[0])
    return _step(_spelt_out(layers[-1], units, 2 if exponent else 1), exponent)


def _products(
    features: FeatureSet,
    folded: Folded,
    layers: Sequence[Layer],
    exponent: float,
    seen: Ingredients,
) -> Array:
    """Makes the steps by matrix products with units in front, `[H, ...]`, tile by tile."""

    def tile(part: tuple[Ingredients, Array | None, list[Array]]) -> Array:
        part_seen, scales, rest = part
        shape = part_seen.gradient.shape
        kinds = varying_channels(features, folded, part_seen, scales)
        units = _product(folded.kernel, _one_below_the_other(kinds, prod(shape)))
        units = units.reshape(-1, *shape)
        for contribution in rest:
            units = units + contribution
        units = units.reshape(len(units), -1)
        for layer in layers[:-1]:
            units = _product(layer.kernel, jax.nn.relu(units)) + layer.bias[:, None]
        last = layers[-1]
        outputs = _product(last.kernel, jax.nn.relu(units)) + last.bias[:, None]
        return _step(list(outputs), exponent).reshape(shape)

    return over_tiles(tile, (seen, folded.scales, folded.rest), seen.gradient.shape)


def _one_below_the_other(kinds: Sequence[Array], size: int) -> Array:
    """Puts arrays `[K, ...]` of one size below each other, `[C, size]`.

    Written into place, since XLA makes one slow loop of a concatenation and what is concatenated.
    """
    rows = jnp.zeros((sum(len(kind) for kind in kinds), size), jnp.float32)
    start = 0
    for kind in kinds:
        rows = jax.lax.dynamic_update_slice(rows, kind.reshape(-1, size), (start, 0))
        start += len(kind)
    return rows


def _product(kernel: Array, units: Array) -> Array:
    """Multiplies a kernel `[in, out]` with units `[in, ...]`, in full float32 on every device."""
    return jnp.einsum("ch,c...->h...", kernel, units, precision=jax.lax.Precision.HIGHEST)


def _step(outputs: Sequence[Array], exponent: float) -> Array:
    """Scales the first output of a network by the exponential of its second."""
    return outputs[0] * jnp.exp(outputs[1] * exponent) if exponent else outputs[0]


def _spelt_out(layer: Layer, units: Sequence[Array], outputs: int) -> list[Array]:
    """Rectifies units and applies a layer, of which the first `outputs` outputs are wanted."""
    sums = []
    for j in range(outputs):
        total = layer.bias[j]
        for i, unit in enumerate(units):
            total = total + layer.kernel[i, j] * jax.nn.relu(unit)
        sums.append(total)
    return sums
