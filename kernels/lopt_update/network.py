"""The folded network of one tensor, applied to all its elements.

Networks of up to `UNROLLED_WIDTH` units are unrolled into elementwise operations, which compile to
one loop over the tensor. Wider networks, and the derivatives of all, are matrix products on tiles
that fit the cache on CPU.
"""

from collections.abc import Callable, Sequence
from functools import partial
from itertools import accumulate
from math import prod
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
from metarl.kernels.lopt_update.features import FeatureInputs, FeatureSet
from metarl.kernels.lopt_update.tiles import over_tiles, sequential_vmap

Array = jax.Array

UNROLLED_WIDTH = 8
"""Maximum hidden units of an unrolled network."""


class Layer(NamedTuple):
    """Affine layer: kernel `[in, out]`, bias `[out]`."""

    kernel: Array
    bias: Array


class Design(NamedTuple):
    """Static description of a network, without weights.

    Attributes:
      features: channels that are its inputs.
      varying: indices, in the feature set, of the kinds of channels that vary over elements.
      exponent: factor of the second output; 0 = the second output is not computed.
    """

    features: FeatureSet
    varying: tuple[int, ...]
    exponent: float


class Weights(NamedTuple):
    """Weights of one tensor's network with a folded first layer.

    Attributes:
      kernel: first-layer rows of the C channels that vary over elements, `[C, H]`.
      scales: normalizers of these channels, `[C, ...]`; None = they are folded into the kernel.
      rest: contributions of the bias and of the other channels, arrays `[H, ...]` that broadcast
        against the tensor.
      layers: layers after the first.
    """

    kernel: Array
    scales: Array | None
    rest: list[Array]
    layers: Sequence[Layer]


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def steps(design: Design, weights: Weights, inputs: FeatureInputs) -> Array:
    """Applies a network to a tensor; returns unscaled steps `[*shape]`.

    The derivative is always that of the matrix products. The derivative of the unrolled form has
    one sum over the tensor for every weight; XLA fuses the whole network into each of them and
    compiles for minutes.
    """
    if is_unrolled(weights):
        return _unrolled(design, weights, inputs)
    return sequential_vmap(partial(_products, design), inputs.gradient.size)(weights, inputs)


def _forward(design: Design, weights: Weights, inputs: FeatureInputs) -> tuple[Array, Any]:
    return steps(design, weights, inputs), (weights, inputs)


def _backward(design: Design, arguments: tuple[Weights, FeatureInputs], cotangent: Array) -> Any:
    def backward(arguments: tuple[Weights, FeatureInputs], cotangent: Array) -> Any:
        return jax.vjp(partial(_products, design), *arguments)[1](cotangent)

    return sequential_vmap(backward, cotangent.size)(arguments, cotangent)


steps.defvjp(_forward, _backward)


def product(kernel: Array, units: Array) -> Array:
    """Multiplies a kernel `[in, out]` with units `[in, ...]` in float32 on every device."""
    return jnp.einsum("ch,c...->h...", kernel, units, precision=jax.lax.Precision.HIGHEST)


def _varying_channels(design: Design, scales: Array | None, inputs: FeatureInputs) -> list[Array]:
    """Computes the channels that vary over elements, `[K, ...]` for each kind, normalized."""
    made = design.features.make(inputs)
    kinds = [made[i] for i in design.varying]
    if scales is None:
        return kinds
    ends = accumulate(len(kind) for kind in kinds)
    return [kind * scales[end - len(kind) : end] for end, kind in zip(ends, kinds, strict=True)]


def _unrolled(design: Design, weights: Weights, inputs: FeatureInputs) -> Array:
    """Computes the steps elementwise, with one array for each unit."""
    kinds = _varying_channels(design, weights.scales, inputs)
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
        units = _unrolled_layer(layer, units, layer.bias.shape[0])
    return _step(_unrolled_layer(last, units, 2 if design.exponent else 1), design.exponent)


def _unrolled_layer(layer: Layer, units: Sequence[Array], outputs: int) -> list[Array]:
    """Applies ReLU and the first `outputs` outputs of a layer."""
    sums = []
    for j in range(outputs):
        total = layer.bias[j]
        for i, unit in enumerate(units):
            total = total + layer.kernel[i, j] * jax.nn.relu(unit)
        sums.append(total)
    return sums


def is_unrolled(weights: Weights) -> bool:
    """Returns whether a network of this width is unrolled."""
    return weights.kernel.shape[1] <= UNROLLED_WIDTH


Tile: TypeAlias = "tuple[FeatureInputs, Array | None, list[Array]]"
"""Inputs of a tile, and the parts of the weights' `scales` and `rest` that belong to it."""


def tile_function(design: Design, weights: Weights) -> Callable[[Tile], Array]:
    """Returns the function that maps a tile to its unscaled steps."""
    if not is_unrolled(weights):
        return _product_tile_function(design, weights)

    def tile(part: Tile) -> Array:
        inputs, scales, rest = part
        return _unrolled(design, weights._replace(scales=scales, rest=rest), inputs)

    return tile


def _products(design: Design, weights: Weights, inputs: FeatureInputs) -> Array:
    """Computes the steps by matrix products with units first, `[H, ...]`, tile by tile."""
    tile = _product_tile_function(design, weights)
    return over_tiles(tile, (inputs, weights.scales, weights.rest), inputs.gradient.shape)


def _product_tile_function(design: Design, weights: Weights) -> Callable[[Tile], Array]:
    # Transposed outside the loop over tiles: on CPU a product with a transposed kernel takes up to
    # three times as long, most for narrow kernels.
    first, *others = (x.T for x in (weights.kernel, *(layer.kernel for layer in weights.layers)))

    def matmul(kernel: Array, units: Array) -> Array:
        return jnp.matmul(kernel, units, precision=jax.lax.Precision.HIGHEST)

    def tile(part: Tile) -> Array:
        inputs, scales, rest = part
        shape = inputs.gradient.shape
        kinds = _varying_channels(design, scales, inputs)
        units = matmul(first, _concatenate_rows(kinds, prod(shape))).reshape(-1, *shape)
        for contribution in rest:
            units = units + contribution
        units = units.reshape(len(units), -1)
        for kernel, layer in zip(others, weights.layers, strict=True):
            units = matmul(kernel, jax.nn.relu(units)) + layer.bias[:, None]
        return _step(list(units), design.exponent).reshape(shape)

    return tile


def _concatenate_rows(kinds: Sequence[Array], size: int) -> Array:
    """Concatenates arrays `[K, ...]` of equal size to `[C, size]`.

    Uses dynamic updates, since XLA fuses a concatenation with its operands into one slow loop.
    """
    rows = jnp.zeros((sum(len(kind) for kind in kinds), size), jnp.float32)
    start = 0
    for kind in kinds:
        rows = jax.lax.dynamic_update_slice(rows, kind.reshape(-1, size), (start, 0))
        start += len(kind)
    return rows


def _step(outputs: Sequence[Array], exponent: float) -> Array:
    """Multiplies the first output of a network by the exponential of the second."""
    return outputs[0] * jnp.exp(outputs[1] * exponent) if exponent else outputs[0]
