"""The two kernels of a tensor: what a program does, and which blocks it is given."""

from typing import Any

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import triton
from metarl.kernels.lopt_update import reference
from metarl.kernels.lopt_update.config import KernelConfig
from metarl.kernels.lopt_update.features import FeatureSet
from metarl.kernels.lopt_update.matrices import Matrices
from metarl.kernels.lopt_update.pallas_network import Network, padded, products, unrolled
from metarl.kernels.lopt_update.pallas_tile import Inputs, Place, Tile, look, varying_channels

Array = jax.Array

Size = tuple[int, int]
"""Rows and columns of a tile."""


def mean_squares(
    features: FeatureSet,
    config: KernelConfig,
    layout: Matrices,
    places: list[Place],
    inputs: Inputs,
) -> Array:
    """Averages the squares of the C channels that vary over elements, of each matrix, `[B, C]`.

    A program writes the sums of its tile; XLA adds the tiles up, always in the same order.
    """
    size = config.unrolled.tile(layout.rows, layout.columns)
    count = sum(place.channels for place in places)

    def kernel(refs: Inputs, sums: Any) -> None:
        tile = Tile(layout, size)
        for i, x in enumerate(varying_channels(features, places, look(features, refs, tile))):
            mask = tile.mask(x.shape, 1)
            sums[i] = jnp.sum(x * x if mask is None else jnp.where(mask, x * x, 0.0))

    grid = _grid(layout, size)
    sums = pl.pallas_call(
        kernel,
        jax.ShapeDtypeStruct((*reversed(grid), count), jnp.float32),
        grid=grid,
        in_specs=(_input_specs(inputs, size),),
        out_specs=pl.BlockSpec((None, None, None, count), lambda j, i, b: (b, i, j, 0)),
        compiler_params=triton.CompilerParams(num_warps=config.unrolled.warps),
        interpret=config.interpret,
        name="lopt_update_statistics",
    )(inputs)
    return jnp.sum(sums, (1, 2)) / (layout.rows * layout.columns)


def steps(
    features: FeatureSet,
    config: KernelConfig,
    layout: Matrices,
    places: list[Place],
    inputs: Inputs,
    network: Network,
    exponent: float,
) -> tuple[Array, Array, Array | None]:
    """Makes the steps, before their scale, and moves the moments in their place.

    Returns:
      `[1, B, rows, columns]`, momenta `[M, ...]`, and mean squares `[V, ...]` or None.
    """
    narrow = network.kernel.shape[-1] <= reference.UNROLLED_WIDTH
    blocks = config.unrolled if narrow else config.products
    size = blocks.tile(layout.rows, layout.columns)
    network = network if narrow else padded(network)

    def kernel(refs: Inputs, network: Network, step: Any, momenta: Any, rms: Any) -> None:
        tile = Tile(layout, size)
        seen = look(features, refs, tile)
        for k, part in enumerate(seen):
            tile.store(momenta, k, part.momenta)
        if seen[0].rms is not None:
            tile.store(rms, 0, seen[0].rms)
        channels = varying_channels(features, places, seen)
        if narrow:
            made = unrolled(network, tile, channels, exponent)
        else:
            made = products(network, tile, channels, exponent, config.precision)
        tile.store(step, 0, made)

    shape = jax.ShapeDtypeStruct(inputs.parameter.shape, jnp.float32)
    outputs = (shape, inputs.momenta, inputs.rms)
    arguments = (inputs, network)
    leaves, treedef = jax.tree.flatten(arguments)
    places_of_inputs = jax.tree.unflatten(treedef, range(len(leaves)))[0]
    in_place = {places_of_inputs.momenta: 1}
    if inputs.rms is not None:
        in_place[places_of_inputs.rms] = 2
    return pl.pallas_call(
        kernel,
        jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), outputs),
        grid=_grid(layout, size),
        in_specs=(_input_specs(inputs, size), _network_specs(network, size, narrow)),
        out_specs=jax.tree.map(lambda x: _tiles(x, size, 1), outputs),
        input_output_aliases=in_place,
        compiler_params=triton.CompilerParams(num_warps=blocks.warps),
        interpret=config.interpret,
        name="lopt_update_steps",
    )(*arguments)


def _grid(layout: Matrices, size: Size) -> tuple[int, int, int]:
    """Counts programs, `[columns, rows, B]`; the first axis is the fastest."""
    return pl.cdiv(layout.columns, size[1]), pl.cdiv(layout.rows, size[0]), layout.batch


def _input_specs(inputs: Inputs, size: Size) -> Inputs:
    return jax.tree.map(lambda x: _whole(x) if x.ndim == 1 else _tiles(x, size, 1), inputs)


def _network_specs(network: Network, size: Size, narrow: bool) -> Network:
    axis = 1 if narrow else 0
    shared = len(network.kernel) == 1
    block = (None, *network.kernel.shape[1:])
    return Network(
        _tiles(network.rows, size, axis),
        _tiles(network.columns, size, axis),
        pl.BlockSpec(block, lambda j, i, b: (0 if shared else b, 0, 0)),
        jax.tree.map(_whole, network.layers),
    )


def _whole(x: Array) -> pl.BlockSpec:
    return pl.BlockSpec(x.shape, lambda j, i, b: (0,) * x.ndim)


def _tiles(x: Any, size: Size, axis: int) -> pl.BlockSpec:
    """Gives a program its tile of axes `[B, rows, columns]`, from `axis` on; size 1 stays."""
    block: list[int | None] = list(x.shape)
    block[axis] = None
    for i, part in enumerate(size, axis + 1):
        block[i] = part if x.shape[i] > 1 else 1

    def index(j: Any, i: Any, b: Any) -> tuple[Any, ...]:
        programs = [0] * axis + [b, i, j] + [0] * (x.ndim - axis - 3)
        return tuple(p if n > 1 else 0 for p, n in zip(programs, x.shape, strict=True))

    return pl.BlockSpec(tuple(block), index)
