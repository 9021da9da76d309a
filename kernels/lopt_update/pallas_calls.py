"""The two Pallas kernels of a tensor and their block specs."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from metarl.kernels.lopt_update.config import KernelConfig, Size
from metarl.kernels.lopt_update.features import FeatureSet
from metarl.kernels.lopt_update.matrices import Matrices
from metarl.kernels.lopt_update.network import UNROLLED_WIDTH
from metarl.kernels.lopt_update.pallas_network import (
    Network,
    held_network,
    padded,
    products,
    unrolled,
)
from metarl.kernels.lopt_update.pallas_tile import (
    Inputs,
    Place,
    Tile,
    held_inputs,
    load_inputs,
    varying_channels,
)
from metarl.kernels.lopt_update.reference import apply_step

Array = jax.Array


@dataclass(frozen=True)
class Device:
    """Settings of kernels for a kind of device.

    Attributes:
      tile: class of tiles.
      compiler_params: function of blocks and their size that returns compiler parameters.
      products: whether wide networks are matrix products; else they are unrolled like narrow ones.
      scalars: memory space of scalars; None = the default memory space.
    """

    tile: type[Tile]
    compiler_params: Callable[[Any, Size], Any]
    products: bool
    scalars: Any = None

    def spec(self, block: tuple[int | None, ...], index: Callable[..., Any]) -> pl.BlockSpec:
        """Returns the spec of a block of scalars."""
        return pl.BlockSpec(block, index, memory_space=self.scalars)


def mean_squares(
    features: FeatureSet,
    config: KernelConfig,
    device: Device,
    layout: Matrices,
    places: list[Place],
    inputs: Inputs,
) -> Array:
    """Computes mean squares of the C channels that vary over elements, per matrix, `[B, C]`.

    Each program writes the sums of its block; XLA sums the blocks in a deterministic order.
    """
    size = config.unrolled.size(layout)
    count = sum(place.channels for place in places)

    def kernel(refs: Inputs, sums: Any) -> None:
        block = device.tile(layout, size)
        held = held_inputs(refs, block)

        def add(tile: Tile, totals: list[Array]) -> list[Array]:
            channels = varying_channels(features, places, load_inputs(features, held, tile))
            return [
                tile.multiply_add(*pair) for pair in zip(channels, channels, totals, strict=True)
            ]

        totals = block.over(add, [block.zeros(refs.gradient)] * count)
        mask = block.mask(block.shape, 1)
        for i, total in enumerate(totals):
            sums[0, i] = jnp.sum(total if mask is None else jnp.where(mask, total, 0.0))

    grid = _grid(layout, size)
    sums = pl.pallas_call(
        kernel,
        jax.ShapeDtypeStruct((*reversed(grid), 1, count), jnp.float32),
        grid=grid,
        in_specs=(_input_specs(device, inputs, size),),
        out_specs=device.spec((None, None, None, 1, count), lambda j, i, b: (b, i, j, 0, 0)),
        compiler_params=device.compiler_params(config.unrolled, size),
        interpret=config.interpret,
        name="lopt_update_statistics",
    )(inputs)
    return jnp.sum(sums, (1, 2, 3)) / (layout.rows * layout.columns)


def steps(
    features: FeatureSet,
    config: KernelConfig,
    device: Device,
    layout: Matrices,
    places: list[Place],
    inputs: Inputs,
    network: Network,
    exponent: float,
) -> tuple[Array, Array, Array | None]:
    """Computes the steps and updates the moments in place; with `in_place` also the parameters.

    Returns:
      Steps or parameters `[1, B, rows, columns]`, momenta `[M, ...]`, and mean squares `[V, ...]`
      or None.
    """
    narrow = network.kernel.shape[-1] <= UNROLLED_WIDTH
    blocks = config.unrolled if narrow else config.products
    size = blocks.size(layout)
    is_unrolled = narrow or not device.products
    network = network if is_unrolled else padded(network)

    def kernel(refs: Inputs, network: Network, step: Any, momenta: Any, rms: Any) -> None:
        block = device.tile(layout, size)
        held, weights = held_inputs(refs, block), held_network(network, block, is_unrolled)

        def one(tile: Tile, nothing: tuple[()]) -> tuple[()]:
            loaded = load_inputs(features, held, tile)
            for k, part in enumerate(loaded):
                tile.store(momenta, k, part.momenta)
            if loaded[0].rms is not None:
                tile.store(rms, 0, loaded[0].rms)
            channels = varying_channels(features, places, loaded)
            if is_unrolled:
                made = unrolled(weights, tile, channels, exponent)
            else:
                made = products(weights, tile, channels, exponent, config.precision)
            if config.in_place:
                made = apply_step(loaded[0].parameter[None], made).astype(step.dtype)
            tile.store(step, 0, made)
            return nothing

        block.over(one, ())

    dtype = inputs.parameter.dtype if config.in_place else jnp.float32
    shape = jax.ShapeDtypeStruct(inputs.parameter.shape, dtype)
    outputs = (shape, inputs.momenta, inputs.rms)
    arguments = (inputs, network)
    leaves, treedef = jax.tree.flatten(arguments)
    places_of_inputs = jax.tree.unflatten(treedef, range(len(leaves)))[0]
    in_place = {places_of_inputs.momenta: 1}
    if config.in_place:
        in_place[places_of_inputs.parameter] = 0
    if inputs.rms is not None:
        in_place[places_of_inputs.rms] = 2
    return pl.pallas_call(
        kernel,
        jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), outputs),
        grid=_grid(layout, size),
        in_specs=(
            _input_specs(device, inputs, size),
            _network_specs(device, network, size, is_unrolled),
        ),
        out_specs=jax.tree.map(lambda x: _tiles(x, size, 1), outputs),
        input_output_aliases=in_place,
        compiler_params=device.compiler_params(blocks, size),
        interpret=config.interpret,
        name="lopt_update_steps",
    )(*arguments)


def _grid(layout: Matrices, size: Size) -> tuple[int, int, int]:
    """Returns the grid `[columns, rows, B]`; the first axis varies fastest."""
    return pl.cdiv(layout.columns, size[1]), pl.cdiv(layout.rows, size[0]), layout.batch


def _input_specs(device: Device, inputs: Inputs, size: Size) -> Inputs:
    def spec(x: Array) -> pl.BlockSpec:
        return _whole(device, x) if x.ndim == 2 else _tiles(x, size, 1)

    return jax.tree.map(spec, inputs)


def _network_specs(device: Device, network: Network, size: Size, is_unrolled: bool) -> Network:
    axis = 1 if is_unrolled else 0
    shared = len(network.kernel) == 1
    block = (None, *network.kernel.shape[1:])
    return Network(
        _tiles(network.rows, size, axis),
        _tiles(network.columns, size, axis),
        device.spec(block, lambda j, i, b: (0 if shared else b, 0, 0)),
        jax.tree.map(lambda x: _whole(device, x), network.layers),
    )


def _whole(device: Device, x: Array) -> pl.BlockSpec:
    return device.spec(x.shape, lambda j, i, b: (0,) * x.ndim)


def _tiles(x: Any, size: Size, axis: int) -> pl.BlockSpec:
    """Returns the block spec over `[B, rows, columns]` from `axis` on; axes of size 1 stay 1."""
    block: list[int | None] = list(x.shape)
    block[axis] = None
    for i, part in enumerate(size, axis + 1):
        block[i] = part if x.shape[i] > 1 else 1

    def index(j: Any, i: Any, b: Any) -> tuple[Any, ...]:
        programs = [0] * axis + [b, i, j] + [0] * (x.ndim - axis - 3)
        return tuple(p if n > 1 else 0 for p, n in zip(programs, x.shape, strict=True))

    return pl.BlockSpec(tuple(block), index)
