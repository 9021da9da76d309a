"""Loops over the blocks of one tensor: what is made on the way is a block's, and stays in cache.

A block's moments and channels are made twice: once to be squared, once for the network.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from metarl.kernels.lopt_update.cuts import Cuts, cuts
from metarl.kernels.lopt_update.features import FeatureSet, Ingredients, bounded
from metarl.kernels.lopt_update.moments import (
    Factors,
    Moments,
    Rates,
    factored_axes,
    update_moments,
)
from metarl.kernels.lopt_update.network import Design, Weights, is_spelt_out, of_tiles
from metarl.kernels.lopt_update.reference import moved

Array = jax.Array


@dataclass(frozen=True)
class Sizes:
    """How tensors are cut.

    Attributes:
      whole: tensors of up to this many elements are not.
      summed: most elements of a block whose squares are summed.
      unrolled: most of one to which a network is applied that is spelt out.
      products: most of one for matrix products. 32 units of 1024 elements take 128 kB, which the
        cache holds; what a row adds to them is added faster if there is only one.
      least: how many blocks there are at least. XLA begins all tensors at once, so a block of each
        exists: sums of 16 channels in 32 blocks are 2 bytes a parameter.
    """

    whole: int = 4096
    summed: int = 4096
    unrolled: int = 8192
    products: int = 1024
    least: int = 32


SIZES = Sizes()


class Source(NamedTuple):
    """What a tensor's moments and channels are made of, or those of a block.

    Attributes:
      parameter, gradient: `[*shape]`, as they were given.
      momenta, rms: before they are moved.
      factors: of averages over rows and columns that have been.
    """

    parameter: Array
    gradient: Array
    momenta: Array
    rms: Array | None
    factors: Factors | None


class Written(NamedTuple):
    """What is made of a tensor.

    Attributes:
      parameter: moved; or, not in place, its step.
      momenta, rms: moved.
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
        g = bounded(features, blocks.cut(gradient, starts))
        square = _chosen(blocks.fresh(index), g * g, 0.0)
        parts = [jnp.sum(square, axis, keepdims=True) for axis in (d0, d1)]
        pairs = zip(sums, parts, strict=True)
        return [blocks.put(x, blocks.cut(x, starts) + part, starts) for x, part in pairs]

    start = [jnp.zeros((*shape[:d], 1, *shape[d + 1 :]), jnp.float32) for d in (d0, d1)]
    over_d0, over_d1 = jax.lax.fori_loop(0, blocks.number, add, start)
    return jnp.squeeze(over_d0, d0) / shape[d0], jnp.squeeze(over_d1, d1) / shape[d1]


def channel_means(
    features: FeatureSet,
    rates: Rates,
    source: Source,
    squares: Callable[[Ingredients], list[Array]],
) -> Array:
    """Averages squares of channels over a tensor, `[C, 1, ...]`.

    Blocks are added up element by element, so that every sum has few terms.
    """
    shape = source.gradient.shape
    blocks = _blocks(shape, SIZES.summed)

    def made(index: Array) -> list[Array]:
        own = _seen(features, rates, _cut(blocks, source, blocks.starts(index)))
        return [_chosen(blocks.fresh(index), part, 0.0) for part in squares(own)]

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
    """Makes steps and moves moments without blocks.

    A network that is spelt out is one loop of XLA's own, which it shares out to several cores.
    """
    weights = network[1]
    own = _seen(features, rates, source)
    step = of_tiles(*network)((own, weights.scales, weights.rest)) * scale
    return Written(step, own.momenta, own.rms)


def block_by_block(
    features: FeatureSet,
    rates: Rates,
    source: Source,
    network: tuple[Design, Weights],
    scale: Array,
    in_place: bool,
) -> Written:
    """Makes steps, or the moved parameter in its place, and moves momenta and mean squares.

    In place each overwrites what it was made of. XLA copies nothing as long as it is plain that all
    reading of a block comes before the writing: so the moments are made anew to be written, from
    where an index says that is known after the parameter.
    """
    weights = network[1]
    wide = not is_spelt_out(weights)
    blocks = _blocks(source.gradient.shape, SIZES.products if wide else SIZES.unrolled, wide)
    apply = of_tiles(*network)

    def own_and_old(held: Written, starts: list[Array]) -> tuple[Ingredients, Source]:
        part = _cut(blocks, source._replace(**held._asdict()) if in_place else source, starts)
        return _seen(features, rates, part), part

    def write(index: Array, held: Written) -> Written:
        starts, fresh = blocks.starts(index), blocks.fresh(index) if in_place else None
        own, old = own_and_old(held, starts)
        end = apply((own, *_cut(blocks, (weights.scales, weights.rest), starts))) * scale
        if in_place:
            end = _chosen(fresh, moved(old.parameter, end), old.parameter)
        end = blocks.put(held.parameter, end, starts)
        if in_place:
            starts = _after(end, starts)
            own, old = own_and_old(held, starts)
        momenta = blocks.put(held.momenta, _chosen(fresh, own.momenta, old.momenta), starts)
        if held.rms is None or own.rms is None or old.rms is None:
            return Written(end, momenta, None)
        return Written(end, momenta, blocks.put(held.rms, _chosen(fresh, own.rms, old.rms), starts))

    start = Written(source.parameter, source.momenta, source.rms)
    if not in_place:
        start = jax.tree.map(lambda x: jnp.zeros(x.shape, jnp.float32), start)
    return jax.lax.fori_loop(0, blocks.number, write, start)


def _blocks(shape: tuple[int, ...], most: int, any_number: bool = False) -> Cuts:
    return cuts(shape, most if any_number else max(min(most, prod(shape) // SIZES.least), 1))


def _cut(blocks: Cuts, tree: Any, starts: list[Array]) -> Any:
    return jax.tree.map(lambda x: blocks.cut(x, starts), tree)


def _seen(features: FeatureSet, rates: Rates, part: Source) -> Ingredients:
    """Moves the moments of a block, and gathers what its channels are made of."""
    g = bounded(features, part.gradient)
    new = update_moments(Moments(part.momenta, part.rms, None, None), g, rates)
    row_scale = None if part.factors is None else part.factors.row_scale
    p = part.parameter.astype(jnp.float32)
    return Ingredients(g, p, new.momenta, new.rms, part.factors, row_scale)


def _chosen(fresh: Array | None, new: Array, old: Array | float) -> Array:
    """The new values of elements that no block before had."""
    return new if fresh is None else jnp.where(fresh, new, old)


def _after(written: Array, starts: list[Array]) -> list[Array]:
    """The same places, known only when `written` is; a zero that XLA does not see through."""
    first = jax.lax.dynamic_slice(written, starts, (1,) * written.ndim).reshape(())
    zero = jnp.clip(first.astype(jnp.int32), 0, 0)
    return [start + zero for start in starts]
