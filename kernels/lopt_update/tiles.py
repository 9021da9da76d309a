"""Going over a tensor in pieces, so that what is made of it stays in the cache."""

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import jax
import jax.numpy as jnp

Array = jax.Array

TILE = 1024
"""Most elements of a tile: 32 units of each then take 128 kB."""

ROW = 128
"""A row of this many elements is a tile: several rows compile to a slower loop."""

UNTILED = 4096
"""Tensors of up to this many elements are one tile."""

PARTS = (4, 5, 6, 7, 3)
"""Into how many parts a tensor may be cut whose squares are summed, the best first."""


def over_tiles(function: Callable[[Any], Array], arrays: Any, shape: tuple[int, ...]) -> Array:
    """Applies a function to corresponding tiles of arrays and puts the results together.

    Args:
      function: of the tree of tiles, elementwise in them, to an array of the tile's shape; computed
        again under differentiation.
      arrays: tree of arrays whose last axes broadcast against `shape`; axes before them stay whole.
      shape: of the tensor.

    Returns:
      `[*shape]`.
    """
    tile = tile_shape(shape)
    if tile == shape:
        return function(arrays)
    counts = [size // part for size, part in zip(shape, tile, strict=True)]

    def one(index: Array) -> Array:
        starts = [i * part for i, part in zip(jnp.unravel_index(index, counts), tile, strict=True)]
        return function(jax.tree.map(lambda x: _cut(x, starts, tile, shape), arrays))

    results = jax.lax.map(jax.checkpoint(one), jnp.arange(prod(counts)))  # [tiles, *tile]
    results = results.reshape(*counts, *tile)
    rank = len(shape)
    order = [axis for i in range(rank) for axis in (i, rank + i)]
    return results.transpose(order).reshape(shape)


def tile_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Chooses tiles that divide every axis: a row or a part of one, or rows of few columns.

    An axis with no divisor between an eighth of what fits and what fits stays whole, so that a
    prime number of columns does not mean tiles of one element.
    """
    if prod(shape) <= UNTILED:
        return shape
    tile: list[int] = []
    for size in reversed(shape):
        fits = max(TILE // prod(tile), 1) if prod(tile) < ROW else 1
        divisors = [d for d in range(min(fits, size), max(fits // 8, 1) - 1, -1) if size % d == 0]
        tile.insert(0, divisors[0] if divisors else size)
    return tuple(tile)


def partial_means(
    function: Callable[[Any], list[Array]],
    arrays: Any,
    shape: tuple[int, ...],
    axes: Sequence[int],
) -> Array:
    """Averages elementwise functions over axes, which stay with size 1.

    Of a large tensor, parts are added up element by element, and then rows as a product with ones:
    on CPU that is ten times faster than the mean of an expression, and compiles faster.

    Args:
      function: of the tree of parts, to arrays `[K, *part]`, C channels in all.
      arrays: tree of arrays whose last axes broadcast against `shape`; axes before them stay whole.
      shape: of the tensor.
      axes: to average over.

    Returns:
      `[C, ...]`.
    """
    later = tuple(1 + axis for axis in axes)
    cut = max(axes, key=lambda axis: (axis < len(shape) - 1, shape[axis]), default=None)
    if cut is None or prod(shape) <= UNTILED or shape[cut] < max(PARTS):
        # Written down before they are summed: of expressions under a sum, XLA makes slow loops over
        # windows, and of a concatenation an array of all channels of a whole population.
        made = jax.lax.optimization_barrier(function(arrays))
        return jnp.concatenate([jnp.mean(x, later, keepdims=True) for x in made])
    parts = next((count for count in PARTS if shape[cut] % count == 0), PARTS[0])
    length = shape[cut] // parts

    def piece(start: int, end: int) -> list[Array]:
        def part(x: Array) -> Array:
            axis = x.ndim - len(shape) + cut
            return x if x.shape[axis] == 1 else jax.lax.slice_in_dim(x, start, end, axis=axis)

        return function(jax.tree.map(part, arrays))

    pieces = [piece(i * length, (i + 1) * length) for i in range(parts)]
    sums = _rows_added([sum(x[1:], x[0]) for x in zip(*pieces, strict=True)], cut)
    if parts * length < shape[cut]:
        sums = sums + _rows_added(piece(parts * length, shape[cut]), cut)
    count = prod(shape[axis] for axis in axes)
    return jnp.sum(sums, later, keepdims=True) / count


def _rows_added(arrays: Sequence[Array], axis: int) -> Array:
    """Sums arrays `[K, ...]` over an axis after the first, which stays with size 1; `[C, ...]`.

    As a product with several equal rows of ones: into a product with one vector XLA would draw the
    expression that is summed, which then is not vectorised.
    """
    sums = []
    for x in arrays:
        rows = jnp.moveaxis(x, 1 + axis, 1)
        kinds, length, *others = rows.shape
        ones = jnp.ones((kinds, 4, length), jnp.float32)
        flat = rows.reshape(kinds, length, -1)
        product = jnp.matmul(ones, flat, precision=jax.lax.Precision.HIGHEST)
        sums.append(product[:, 0].reshape(kinds, *others))
    return jnp.expand_dims(jnp.concatenate(sums), 1 + axis)


def _cut(x: Array, starts: Sequence[Array], tile: tuple[int, ...], shape: tuple[int, ...]) -> Array:
    lead = x.ndim - len(shape)
    sizes = x.shape[lead:]
    begins = [jnp.int32(0)] * lead + [
        start if size > 1 else jnp.int32(0) for start, size in zip(starts, sizes, strict=True)
    ]
    lengths = [min(part, size) for part, size in zip(tile, sizes, strict=True)]
    return jax.lax.dynamic_slice(x, begins, (*x.shape[:lead], *lengths))
