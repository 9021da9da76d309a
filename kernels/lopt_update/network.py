"""The network of one tensor, folded, applied to all its elements.

Networks of up to `UNROLLED_WIDTH` units are spelt out element by element, which compiles to one
loop over the tensor; wider ones, and the derivatives of all, are matrix products on tiles, one
after the other, which on CPU fit into the cache.
"""

from collections.abc import Callable, Sequence
from functools import partial
from itertools import accumulate
from math import prod
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp

from metarl.kernels.lopt_update.features import FeatureSet, Ingredients
from metarl.kernels.lopt_update.tiles import in_turn, over_tiles

Array = jax.Array

UNROLLED_WIDTH = 8
"""Up to this many hidden units layers are spelt out."""


class Layer(NamedTuple):
    """An affine layer: kernel `[in, out]`, bias `[out]`."""

    kernel: Array
    bias: Array


class Design(NamedTuple):
    """What is known of a network before its weights.

    Attributes:
      features: the channels.
      varying: places, in the feature set, of the kinds of channels that vary over elements.
      exponent: how much the second output counts; 0 = it is not computed.
    """

    features: FeatureSet
    varying: tuple[int, ...]
    exponent: float


class Weights(NamedTuple):
    """Weights of one tensor's network, whose first layer is folded.

    Attributes:
      kernel: its rows of the C channels that vary over elements, `[C, H]`.
      scales: by which to multiply these channels first, `[C, ...]`; None = they are in the kernel.
      rest: what bias and other channels contribute, arrays `[H, ...]` that broadcast against the
        tensor.
      layers: after the first.
    """

    kernel: Array
    scales: Array | None
    rest: list[Array]
    layers: Sequence[Layer]


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def steps(design: Design, weights: Weights, seen: Ingredients) -> Array:
    """Applies a network to what is seen of a tensor: steps `[*shape]`, before their scale.

    The derivative is that of the products in any case: that of what is spelt out has a sum over the
    tensor for every weight, into each of which XLA draws the whole network again, and compiles for
    minutes.
    """
    if is_spelt_out(weights):
        return _unrolled(design, weights, seen)
    return in_turn(partial(_products, design), seen.gradient.size)(weights, seen)


def _forward(design: Design, weights: Weights, seen: Ingredients) -> tuple[Array, Any]:
    return steps(design, weights, seen), (weights, seen)


def _backward(design: Design, arguments: tuple[Weights, Ingredients], cotangent: Array) -> Any:
    def back(arguments: tuple[Weights, Ingredients], cotangent: Array) -> Any:
        return jax.vjp(partial(_products, design), *arguments)[1](cotangent)

    return in_turn(back, cotangent.size)(arguments, cotangent)


steps.defvjp(_forward, _backward)


def product(kernel: Array, units: Array) -> Array:
    """Multiplies a kernel `[in, out]` with units `[in, ...]`, in full float32 on every device."""
    return jnp.einsum("ch,c...->h...", kernel, units, precision=jax.lax.Precision.HIGHEST)


def _varying_channels(design: Design, scales: Array | None, seen: Ingredients) -> list[Array]:
    """Makes the channels that vary over elements, `[K, ...]` a kind, scaled if need be."""
    made = design.features.make(seen)
    kinds = [made[i] for i in design.varying]
    if scales is None:
        return kinds
    ends = accumulate(len(kind) for kind in kinds)
    return [kind * scales[end - len(kind) : end] for end, kind in zip(ends, kinds, strict=True)]


def _unrolled(design: Design, weights: Weights, seen: Ingredients) -> Array:
    """Makes the steps element by element, one array a unit."""
    kinds = _varying_channels(design, weights.scales, seen)
    channels = [channel for kind in kinds for channel in kind]
    units: list[Array] = []
    for j in range(weights.kernel.shape[1]):
        unit = weights.rest[0][j]
        for contribution in weights.rest[1:]:
            unit = unit + contribution[j]
        for i, channel in enumerate(channels):
            unit = unit + weights.kernel[i, j] * channel
        units.append(unit)
    *hidden, last = weights.layers
    for layer in hidden:
        units = _spelt_out(layer, units, layer.bias.shape[0])
    return _step(_spelt_out(last, units, 2 if design.exponent else 1), design.exponent)


def _spelt_out(layer: Layer, units: Sequence[Array], outputs: int) -> list[Array]:
    """Rectifies units and applies a layer, of which the first `outputs` outputs are wanted."""
    sums = []
    for j in range(outputs):
        total = layer.bias[j]
        for i, unit in enumerate(units):
            total = total + layer.kernel[i, j] * jax.nn.relu(unit)
        sums.append(total)
    return sums


def is_spelt_out(weights: Weights) -> bool:
    """Says whether networks so wide are spelt out."""
    return weights.kernel.shape[1] <= UNROLLED_WIDTH


Tile: TypeAlias = "tuple[Ingredients, Array | None, list[Array]]"
"""What is seen of a tile, and what belongs to it of the weights' `scales` and `rest`."""


def of_tiles(design: Design, weights: Weights) -> Callable[[Tile], Array]:
    """Makes the function from a tile to its steps, before their scale."""
    if not is_spelt_out(weights):
        return _products_of_tiles(design, weights)

    def tile(part: Tile) -> Array:
        seen, scales, rest = part
        return _unrolled(design, weights._replace(scales=scales, rest=rest), seen)

    return tile


def _products(design: Design, weights: Weights, seen: Ingredients) -> Array:
    """Makes the steps by matrix products with units in front, `[H, ...]`, tile by tile."""
    tile = _products_of_tiles(design, weights)
    return over_tiles(tile, (seen, weights.scales, weights.rest), seen.gradient.shape)


def _products_of_tiles(design: Design, weights: Weights) -> Callable[[Tile], Array]:
    # turned here, outside any loop over tiles: on CPU a product takes up to three times as long
    # with a kernel that it has to turn, the narrower the longer
    first, *others = (x.T for x in (weights.kernel, *(layer.kernel for layer in weights.layers)))

    def turned(kernel: Array, units: Array) -> Array:
        return jnp.matmul(kernel, units, precision=jax.lax.Precision.HIGHEST)

    def tile(part: Tile) -> Array:
        seen, scales, rest = part
        shape = seen.gradient.shape
        kinds = _varying_channels(design, scales, seen)
        units = turned(first, _one_below_the_other(kinds, prod(shape))).reshape(-1, *shape)
        for contribution in rest:
            units = units + contribution
        units = units.reshape(len(units), -1)
        for kernel, layer in zip(others, weights.layers, strict=True):
            units = turned(kernel, jax.nn.relu(units)) + layer.bias[:, None]
        return _step(list(units), design.exponent).reshape(shape)

    return tile


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


def _step(outputs: Sequence[Array], exponent: float) -> Array:
    """Scales the first output of a network by the exponential of its second."""
    return outputs[0] * jnp.exp(outputs[1] * exponent) if exponent else outputs[0]
