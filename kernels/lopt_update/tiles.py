"""Tiling of computations over a tensor, so that intermediates stay in the cache."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import jax
import jax.numpy as jnp

Array = jax.Array


@dataclass(frozen=True)
class Tiling:
    """Sizes of tiles.

    Attributes:
      most: maximum elements of a tile.
      row: number of elements from which one row is a tile.
      untiled: maximum elements of a tensor that is one tile.
      slack: maximum factor by which a tile may be shorter than what would fit, to divide its axis;
        otherwise the axis stays whole, which avoids tiles of one element for prime sizes.
    """

    most: int
    row: int
    untiled: int
    slack: int


CPU = Tiling(most=1024, row=128, untiled=4096, slack=8)
"""32 units of a tile take 128 kB, which fits the cache; several rows compile to a slower loop."""

ACCELERATOR = Tiling(most=1 << 20, row=1 << 20, untiled=1 << 20, slack=64)
"""32 units of a tile take 128 MB; small tiles would mean many tiny launches."""

SMALL = 4096
"""Maximum elements of a tensor whose partial sums are reduced at once, not row by row."""

PARTS = (4, 5, 6, 7, 3)
"""Permitted numbers of parts for sums of squares, best first."""


def over_tiles(function: Callable[[Any], Array], arrays: Any, shape: tuple[int, ...]) -> Array:
    """Applies a function to corresponding tiles of arrays and assembles the results.

    Args:
      function: elementwise function of a tree of tiles that returns an array of the tile's shape;
        it is rematerialized under differentiation.
      arrays: tree of arrays whose last axes broadcast against `shape`; leading axes stay whole.
      shape: shape of the tensor.

    Returns:
      `[*shape]`.
    """
    tile = tile_shape(shape, tiling())
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


def tiling() -> Tiling:
    """Returns the tiling for the default backend."""
    return CPU if jax.default_backend() == "cpu" else ACCELERATOR


def tile_shape(shape: tuple[int, ...], sizes: Tiling) -> tuple[int, ...]:
    """Chooses tiles that divide every axis: a row, a part of a row, or several short rows."""
    if prod(shape) <= sizes.untiled:
        return shape
    tile: list[int] = []
    for size in reversed(shape):
        fits = max(sizes.most // prod(tile), 1) if prod(tile) < sizes.row else 1
        least = max(fits // sizes.slack, 1)
        divisors = (d for d in range(min(fits, size), least - 1, -1) if size % d == 0)
        tile.insert(0, next(divisors, size))
    return tuple(tile)


def sequential_vmap(function: Callable[..., Any], size: int) -> Callable[..., Any]:
    """Returns a function that under `vmap` on CPU loops over groups of members that fill a tile.

    A batch axis on every intermediate would exceed the cache. Other backends process the whole
    batch. Forward mode and `jax.grad` are not supported.

    Args:
      function: function from trees of arrays to a tree of arrays; it closes over no tracer.
      size: number of elements of the tensor that it processes.
    """
    if jax.default_backend() != "cpu":
        return function
    one = jax.custom_batching.custom_vmap(function)

    @one.def_vmap
    def over_members(count: int, batched: Any, *arguments: Any) -> tuple[Any, Any]:
        batched, most = tuple(batched), max(CPU.most // size, 1)
        together = max(k for k in range(1, min(count, most) + 1) if count % k == 0)
        if together < count:
            made = _mapped(one, batched, arguments, together)
        else:
            axes = jax.tree.map(lambda has: 0 if has else None, batched)
            made = sequential_vmap(jax.vmap(function, axes), count * size)(*arguments)
        return made, jax.tree.map(lambda _: True, made)

    return one


def _mapped(
    function: Callable[..., Any], batched: Any, arguments: tuple[Any, ...], together: int
) -> Any:
    """Maps a function over the batched leaves, `together` members at once."""
    leaves, treedef = jax.tree.flatten(arguments)
    has = treedef.flatten_up_to(batched)

    def members(varying: list[Array]) -> Any:
        own = iter(varying)
        given = [next(own) if own_one else x for x, own_one in zip(leaves, has, strict=True)]
        return function(*treedef.unflatten(given))

    varying = [x for x, own_one in zip(leaves, has, strict=True) if own_one]
    return jax.lax.map(members, varying, batch_size=together if together > 1 else None)


def partial_means(
    function: Callable[[Any], list[Array]],
    arrays: Any,
    shape: tuple[int, ...],
    axes: Sequence[int],
) -> Array:
    """Averages elementwise functions over axes, keeping them with size 1.

    Parts are summed elementwise, and the remainder by a product with ones. On CPU this is ten times
    faster than the mean of an expression, which XLA does not vectorize, and it compiles faster.

    Args:
      function: function of a tree of parts that returns arrays `[K, *part]`, C channels in all.
      arrays: tree of arrays whose last axes broadcast against `shape`; leading axes stay whole.
      shape: shape of the tensor.
      axes: axes to average over.

    Returns:
      `[C, ...]`.
    """
    later = tuple(1 + axis for axis in axes)
    cut = max(axes, key=lambda axis: (axis < len(shape) - 1, shape[axis]), default=None)
    if cut is None:
        return jnp.concatenate(function(arrays))
    otherwise = PARTS[0] if shape[cut] > PARTS[0] else 1
    parts = next((count for count in PARTS if shape[cut] % count == 0), otherwise)
    length = shape[cut] // parts

    def piece(start: int, end: int) -> list[Array]:
        def part(x: Array) -> Array:
            axis = x.ndim - len(shape) + cut
            return x if x.shape[axis] == 1 else jax.lax.slice_in_dim(x, start, end, axis=axis)

        return function(jax.tree.map(part, arrays))

    def added(kinds: Sequence[Array]) -> Array:
        if prod(shape) <= SMALL:
            return jnp.concatenate([_sum_by_matmul(x, later) for x in kinds])
        return jnp.sum(_sum_rows_by_matmul(kinds, cut), later, keepdims=True)

    pieces = [piece(i * length, (i + 1) * length) for i in range(parts)]
    sums = added([sum(x[1:], x[0]) for x in zip(*pieces, strict=True)])
    if parts * length < shape[cut]:
        sums = sums + added(piece(parts * length, shape[cut]))
    return sums / prod(shape[axis] for axis in axes)


def _sum_by_matmul(x: Array, axes: Sequence[int]) -> Array:
    """Sums over axes, kept with size 1, by one product with several equal columns of ones."""
    others = [axis for axis in range(x.ndim) if axis not in axes]
    flat = x.transpose(*others, *axes).reshape(*[x.shape[axis] for axis in others], -1)
    ones = jnp.ones((flat.shape[-1], 4), jnp.float32)
    sums = jnp.matmul(flat, ones, precision=jax.lax.Precision.HIGHEST)[..., 0]
    return jnp.expand_dims(sums, axes)


def _sum_rows_by_matmul(arrays: Sequence[Array], axis: int) -> Array:
    """Sums arrays `[K, ...]` over an axis after the first, kept with size 1; `[C, ...]`.

    Uses a product with several equal rows of ones: XLA would fuse the summed expression into a
    product with one vector and then not vectorize it.
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
