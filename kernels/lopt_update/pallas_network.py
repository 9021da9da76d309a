"""The network of a tile inside a kernel: spelt out, or as products on matrix units."""

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from metarl.kernels.lopt_update.config import LEAST_COLUMNS, Precision, power_of_two
from metarl.kernels.lopt_update.network import Layer
from metarl.kernels.lopt_update.pallas_tile import Tile

Array = jax.Array


class Network(NamedTuple):
    """The network of a tensor; in a kernel, references to blocks.

    Attributes:
      rows, columns: what bias and channels that vary only along rows or columns add to the H units
        of the first layer, `[H, B, rows, 1]` and `[H, B, 1, columns]`; H is last for `products`.
      kernel: of the C other channels, divided by their root mean squares, `[1 or B, C, H]`.
      layers: after the first; biases are `[1, out]`.
    """

    rows: Array
    columns: Array
    kernel: Array
    layers: list[Layer]


def unrolled(network: Network, tile: Tile, channels: Sequence[Array], exponent: float) -> Array:
    """Makes the steps of a tile, unit by unit; everything `[1, rows, columns]`."""
    units = []
    for j in range(network.kernel.shape[1]):
        unit = tile.load(network.rows, j) + tile.load(network.columns, j)
        for i, channel in enumerate(channels):
            unit = unit + network.kernel[i, j] * channel
        units.append(unit)
    *hidden, last = network.layers
    for layer in hidden:
        units = _outputs(layer, units, layer.kernel.shape[1])
    return _step(_outputs(last, units, 2 if exponent else 1), exponent)


def products(
    network: Network,
    tile: Tile,
    channels: Sequence[Array],
    exponent: float,
    precision: Precision,
) -> Array:
    """Makes the steps of a tile by matrix products with units last, `[elements, H]`.

    The network is one made by `padded`.
    """
    product = partial(jnp.dot, precision=precision, preferred_element_type=jnp.float32)
    shape = channels[0].shape
    added = tile.load_units(network.rows) + tile.load_units(network.columns)
    units = product(_stacked(channels, network.kernel.shape[0]), network.kernel[...])
    units = units + added.reshape(units.shape)
    for layer in network.layers[:-1]:
        units = product(jax.nn.relu(units), layer.kernel[...]) + layer.bias[...]
    last, units = network.layers[-1], jax.nn.relu(units)
    outputs = [
        jnp.sum(units * last.kernel[k][None], 1).reshape(shape) + last.bias[0, k]
        for k in range(2 if exponent else 1)
    ]
    return _step(outputs, exponent)


def padded(network: Network) -> Network:
    """Prepares a network for `products`: units last, sizes of powers of two, from 16 on.

    What is added is zero, and so it stays. Rows of the last kernel are its outputs.
    """
    *hidden, last = network.layers
    layers = [Layer(_pad(layer.kernel, 2), _pad(layer.bias, 1)) for layer in hidden]
    return Network(
        _pad(jnp.moveaxis(network.rows, 0, -1), 1),
        _pad(jnp.moveaxis(network.columns, 0, -1), 1),
        _pad(network.kernel, 2),
        [*layers, Layer(_pad(last.kernel.T, 1), last.bias)],
    )


def _outputs(layer: Layer, units: Sequence[Array], count: int) -> list[Array]:
    """Rectifies units and makes the first `count` outputs of a layer, from one weight at a time."""
    units = [jax.nn.relu(unit) for unit in units]
    sums = []
    for j in range(count):
        total = layer.bias[0, j]
        for i, unit in enumerate(units):
            total = total + layer.kernel[i, j] * unit
        sums.append(total)
    return sums


def _step(outputs: Sequence[Array], exponent: float) -> Array:
    """Scales the first output by the exponential of the second, if there is one."""
    direction, *magnitude = outputs
    return direction * jnp.exp(magnitude[0] * exponent) if magnitude else direction


def _pad(x: Array, axes: int) -> Array:
    """Pads the last axes."""
    first = x.ndim - axes
    sizes = [max(power_of_two(size), LEAST_COLUMNS) for size in x.shape[first:]]
    after = [new - old for new, old in zip(sizes, x.shape[first:], strict=True)]
    return jnp.pad(x, [(0, 0)] * first + [(0, more) for more in after])


def _stacked(channels: Sequence[Array], count: int) -> Array:
    """Stacks channels along a last axis of `count`, a power of two; `[elements, count]`.

    In pairs, because a kernel can join two arrays and no more.
    """
    flat = [channel.reshape(-1) for channel in channels]
    flat += [jnp.zeros_like(flat[0])] * (count - len(flat))
    while len(flat) > 1:
        half = len(flat) // 2
        pairs = zip(flat[:half], flat[half:], strict=True)
        flat = [jnp.concatenate([a[..., None], b[..., None]], -1) for a, b in pairs]
    return flat[0].reshape(-1, count)
