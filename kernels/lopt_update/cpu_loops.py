"""Loops over the blocks of one tensor, whose intermediates stay in the cache.

A block's moments and channels are computed twice: for their mean squares, and for the network.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from metarl.kernels.lopt_update.block_specs import BlockSpecs, block_specs
from metarl.kernels.lopt_update.features import FeatureInputs, FeatureSet, bounded
from metarl.kernels.lopt_update.moments import (
    Factors,
    Moments,
    Rates,
    factored_axes,
    update_moments,
)
from metarl.kernels.lopt_update.network import Design, Weights, is_unrolled, tile_function
from metarl.kernels.lopt_update.reference import apply_step

Array = jax.Array


@dataclass(frozen=True)
class Sizes:
    """Block sizes in elements.

    Attributes:
      whole: maximum size of a tensor that is not split.
      summed: maximum size of a block for sums of squares.
      unrolled: maximum size of a block for an unrolled network.
      products: maximum size of a block for matrix products. 32 units of 1024 elements take 128 kB,
        which fits the cache; adding row terms is faster if the block has one row.
      least: minimum number of blocks. XLA starts all tensors concurrently, so one block of each is
        in memory: sums of 16 channels in 32 blocks are 2 bytes a parameter.
    """

    whole: int = 4096
    summed: int = 4096
    unrolled: int = 8192
    products: int = 1024
    least: int = 32


SIZES = Sizes()


class Source(NamedTuple):
    """Inputs of the update of a tensor or a block.

    Attributes:
      parameter, gradient: arrays `[*shape]` in their original dtypes.
      momenta, rms: accumulators before this update.
      factors: factors of the row and column averages after this update.
    """

    parameter: Array
    gradient: Array
    momenta: Array
    rms: Array | None
    factors: Factors | None


class Written(NamedTuple):
    """Outputs of the update of a tensor.

    Attributes:
      parameter: updated parameter if in place, else the step.
      momenta, rms: accumulators after this update.
    """

    parameter: Array
    momenta: Array
    rms: Array | None


def square_means(features: FeatureSet, gradient: Array) -> tuple[Array, Array]:
    """Averages the square of a gradient over its axis d0, and over d1; see `factored_axes`."""
    shape, axes = gradient.shape, factored_axes(gradient.shape)
    assert axes is not None, "a vector has no rows and columns"
    d1, d0 = axes
    blocks = _blocks(shape, SIZES.summed)

    def add(index: Array, sums: list[Array]) -> list[Array]:
        starts = blocks.starts(index)
        g = bounded(features, blocks.read(gradient, starts))
        square = _select(blocks.first_visit_mask(index), g * g, 0.0)
        parts = [jnp.sum(square, axis, keepdims=True) for axis in (d0, d1)]
        pairs = zip(sums, parts, strict=True)
        return [blocks.write(x, blocks.read(x, starts) + part, starts) for x, part in pairs]

    start = [jnp.zeros((*shape[:d], 1, *shape[d + 1 :]), jnp.float32) for d in (d0, d1)]
    over_d0, over_d1 = jax.lax.fori_loop(0, blocks.number, add, start)
    return jnp.squeeze(over_d0, d0) / shape[d0], jnp.squeeze(over_d1, d1) / shape[d1]


def channel_means(
    features: FeatureSet,
    rates: Rates,
    source: Source,
    squares: Callable[[FeatureInputs], list[Array]],
) -> Array:
    """Averages squares of channels over a tensor, `[C, 1, ...]`.

    Blocks are summed elementwise first, so that every sum has few terms.
    """
    shape = source.gradient.shape
    blocks = _blocks(shape, SIZES.summed)

    def made(index: Array) -> list[Array]:
        own = _block_inputs(features, rates, _read_block(blocks, source, blocks.starts(index)))
        return [_select(blocks.first_visit_mask(index), part, 0.0) for part in squares(own)]

    def add(index: Array, sums: list[Array]) -> list[Array]:
        return [x + part for x, part in zip(sums, made(index), strict=True)]

    start = [jnp.zeros(x.shape, x.dtype) for x in jax.eval_shape(made, jnp.int32(0))]
    sums = jax.lax.fori_loop(0, blocks.number, add, start)
    axes = tuple(range(1, 1 + len(shape)))
    return jnp.concatenate([jnp.sum(x, axes, keepdims=True) for x in sums]) / prod(shape)


def all_at_once(
    features: FeatureSet,
    rates: Rates,
    source: Source,
    network: tuple[Design, Weights],
    scale: Array,
) -> Written:
    """Computes steps and new moments without blocks.

    XLA compiles an unrolled network to one loop and distributes it over several cores.
    """
    weights = network[1]
    own = _block_inputs(features, rates, source)
    step = tile_function(*network)((own, weights.scales, weights.rest)) * scale
    return Written(step, own.momenta, own.rms)


def block_by_block(
    features: FeatureSet,
    rates: Rates,
    source: Source,
    network: tuple[Design, Weights],
    scale: Array,
    in_place: bool,
) -> Written:
    """Computes steps, or the updated parameter in place, and new momenta and mean squares.

    In place, outputs overwrite inputs. XLA makes no copy if all reads of a block provably precede
    its writes; so the moments are recomputed at an index that depends on the written parameter.
    """
    weights = network[1]
    wide = not is_unrolled(weights)
    blocks = _blocks(source.gradient.shape, SIZES.products if wide else SIZES.unrolled, wide)
    apply = tile_function(*network)

    def own_and_old(held: Written, starts: list[Array]) -> tuple[FeatureInputs, Source]:
        part = _read_block(
            blocks, source._replace(**held._asdict()) if in_place else source, starts
        )
        return _block_inputs(features, rates, part), part

    def write(index: Array, held: Written) -> Written:
        starts, first_visit = (
            blocks.starts(index),
            blocks.first_visit_mask(index) if in_place else None,
        )
        own, old = own_and_old(held, starts)
        end = apply((own, *_read_block(blocks, (weights.scales, weights.rest), starts))) * scale
        if in_place:
            end = _select(first_visit, apply_step(old.parameter, end), old.parameter)
        end = blocks.write(held.parameter, end, starts)
        if in_place:
            starts = _after(end, starts)
            own, old = own_and_old(held, starts)
        momenta = blocks.write(held.momenta, _select(first_visit, own.momenta, old.momenta), starts)
        if held.rms is None or own.rms is None or old.rms is None:
            return Written(end, momenta, None)
        return Written(
            end, momenta, blocks.write(held.rms, _select(first_visit, own.rms, old.rms), starts)
        )

    start = Written(source.parameter, source.momenta, source.rms)
    if not in_place:
        start = jax.tree.map(lambda x: jnp.zeros(x.shape, jnp.float32), start)
    return jax.lax.fori_loop(0, blocks.number, write, start)


def _blocks(shape: tuple[int, ...], most: int, any_number: bool = False) -> BlockSpecs:
    return block_specs(shape, most if any_number else max(min(most, prod(shape) // SIZES.least), 1))


def _read_block(blocks: BlockSpecs, tree: Any, starts: list[Array]) -> Any:
    return jax.tree.map(lambda x: blocks.read(x, starts), tree)


def _block_inputs(features: FeatureSet, rates: Rates, part: Source) -> FeatureInputs:
    """Updates the moments of a block and returns the inputs of its channels."""
    g = bounded(features, part.gradient)
    new = update_moments(Moments(part.momenta, part.rms, None, None), g, rates)
    row_scale = None if part.factors is None else part.factors.row_scale
    p = part.parameter.astype(jnp.float32)
    return FeatureInputs(g, p, new.momenta, new.rms, part.factors, row_scale)


def _select(first_visit: Array | None, new: Array, old: Array | float) -> Array:
    """Returns `new` where no earlier block covers the element, else `old`."""
    return new if first_visit is None else jnp.where(first_visit, new, old)


def _after(written: Array, starts: list[Array]) -> list[Array]:
    """Returns `starts` with a data dependency on `written`: adds a zero that XLA cannot fold."""
    first = jax.lax.dynamic_slice(written, starts, (1,) * written.ndim).reshape(())
    zero = jnp.clip(first.astype(jnp.int32), 0, 0)
    return [start + zero for start in starts]
