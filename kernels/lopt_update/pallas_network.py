"""Network of a tile inside a kernel: unrolled, or as products on matrix units."""

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from metarl.kernels.lopt_update.config import LEAST_COLUMNS, Precision, power_of_two
from metarl.kernels.lopt_update.network import Layer
from metarl.kernels.lopt_update.pallas_tile import Held, Tile

Array = jax.Array


class Network(NamedTuple):
    """Network of a tensor; inside a kernel, references to blocks.

    Attributes:
      rows, columns: contributions of the bias and of channels that vary only along rows or columns
        to the H units of the first layer, `[H, B, rows, 1]` and `[H, B, 1, columns]`; H is last
        for `products`.
      kernel: kernel of the C other channels, divided by their root mean squares, `[1 or B, C, H]`.
      layers: layers after the first; biases are `[1, out]`.
    """

    rows: Array
    columns: Array
    kernel: Array
    layers: list[Layer]


def held_network(network: Network, block: Tile, is_unrolled: bool) -> Network:
    """Preloads arrays shared by all tiles of a block; of an unrolled network, `columns` only."""
    if is_unrolled:
        return network._replace(columns=block.hold(network.columns))
    *hidden, last = network.layers
    ends = Layer(
        Held([last.kernel[k] for k in range(last.kernel.shape[0])]),
        Held([last.bias[0, k] for k in range(last.bias.shape[1])]),
    )
    return Network(
        network.rows,
        Held([block.load_units(network.columns)]),
        network.kernel[...],
        [*(Layer(layer.kernel[...], layer.bias[...]) for layer in hidden), ends],
    )


def unrolled(network: Network, tile: Tile, channels: Sequence[Array], exponent: float) -> Array:
    """Computes the steps of a tile unit by unit; all arrays are `[1, rows, columns]`."""
    units = []
    for j in range(network.kernel.shape[1]):
        unit = tile.load(network.rows, j) + tile.load(network.columns, j)
        for i, channel in enumerate(channels):
            unit = tile.multiply_add(channel, network.kernel[i, j], unit)
        units.append(unit)
    *hidden, last = network.layers
    for layer in hidden:
        units = _outputs(tile, layer, units, layer.kernel.shape[1])
    return _step(_outputs(tile, last, units, 2 if exponent else 1), exponent)


def products(
    network: Network,
    tile: Tile,
    channels: Sequence[Array],
    exponent: float,
    precision: Precision,
) -> Array:
    """Computes the steps of a tile by matrix products with units last, `[elements, H]`.

    The network comes from `padded` and `held_network`.
    """
    product = partial(_product, precision)
    shape = channels[0].shape
    added = tile.load_units(network.rows) + network.columns[0]
    added = added.reshape(-1, added.shape[-1])
    units = product(_stacked(channels, network.kernel.shape[0]), network.kernel, added)
    for layer in network.layers[:-1]:
        bias = jnp.broadcast_to(layer.bias, (len(units), layer.bias.shape[1]))
        units = product(jax.nn.relu(units), layer.kernel, bias)
    last, units = network.layers[-1], jax.nn.relu(units)
    outputs = [
        jnp.sum(units * last.kernel[k][None], 1).reshape(shape) + last.bias[k]
        for k in range(2 if exponent else 1)
    ]
    return _step(outputs, exponent)


def _product(precision: Precision, x: Array, kernel: Array, added: Array) -> Array:
    """Computes `x kernel + added`, `[elements, in]` by `[in, out]`, in float32 or bfloat16 passes.

    jax's own three-pass bfloat16 product handles infinities, at a quarter more instructions.
    """
    preset, dot = jax.lax.DotAlgorithmPreset, partial(jnp.dot, preferred_element_type=jnp.float32)
    if precision == preset.BF16_BF16_F32:
        return added + dot(x.astype(jnp.bfloat16), kernel.astype(jnp.bfloat16))
    if precision == preset.BF16_BF16_F32_X3:
        (high, low), (kernel_high, kernel_low) = _halves(x), _halves(kernel)
        return ((added + dot(low, kernel_high)) + dot(high, kernel_low)) + dot(high, kernel_high)
    return added + dot(x, kernel, precision=precision)


def _halves(x: Array) -> tuple[Array, Array]:
    """Splits float32 into two bfloat16 whose sum has a 16-bit mantissa.

    The first is truncated, not rounded: GPUs truncate and pack pairs with plain instructions.
    """
    bits = jax.lax.bitcast_convert_type(x, jnp.uint32) & jnp.uint32(0xFFFF0000)
    high = jax.lax.bitcast_convert_type(bits, jnp.float32)
    return high.astype(jnp.bfloat16), (x - high).astype(jnp.bfloat16)


def padded(network: Network) -> Network:
    """Prepares a network for `products`: units last, sizes padded to powers of two of at least 16.

    The padding is zero and contributes nothing. Rows of the last kernel are its outputs.
    """
    *hidden, last = network.layers
    layers = [Layer(_pad(layer.kernel, 2), _pad(layer.bias, 1)) for layer in hidden]
    return Network(
        _pad(jnp.moveaxis(network.rows, 0, -1), 1),
        _pad(jnp.moveaxis(network.columns, 0, -1), 1),
        _pad(network.kernel, 2),
        [*layers, Layer(_pad(last.kernel.T, 1), last.bias)],
    )


def _outputs(tile: Tile, layer: Layer, units: Sequence[Array], count: int) -> list[Array]:
    """Applies ReLU and the first `count` outputs of a layer, one weight at a time."""
    units = [jax.nn.relu(unit) for unit in units]
    sums = []
    for j in range(count):
        total = layer.bias[0, j]
        for i, unit in enumerate(units):
            total = tile.multiply_add(unit, layer.kernel[i, j], total)
        sums.append(total)
    return sums


def _step(outputs: Sequence[Array], exponent: float) -> Array:
    """Multiplies the first output by the exponential of the second, if present."""
    direction, *magnitude = outputs
    return direction * jnp.exp(magnitude[0] * exponent) if magnitude else direction


def _pad(x: Array, axes: int) -> Array:
    """Pads the last `axes` axes with zeros."""
    first = x.ndim - axes
    sizes = [max(power_of_two(size), LEAST_COLUMNS) for size in x.shape[first:]]
    after = [new - old for new, old in zip(sizes, x.shape[first:], strict=True)]
    return jnp.pad(x, [(0, 0)] * first + [(0, more) for more in after])


def _stacked(channels: Sequence[Array], count: int) -> Array:
    """Stacks channels along a last axis of `count`, a power of two; `[elements, count]`.

    Stacks pairwise, because a kernel can concatenate only two arrays.
    """
    flat = [channel.reshape(-1) for channel in channels]
    flat += [jnp.zeros_like(flat[0])] * (count - len(flat))
    while len(flat) > 1:
        half = len(flat) // 2
        pairs = zip(flat[:half], flat[half:], strict=True)
        flat = [jnp.concatenate([a[..., None], b[..., None]], -1) for a, b in pairs]
    return flat[0].reshape(-1, count)
