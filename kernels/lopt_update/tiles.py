"""Going over a tensor in pieces, so that what is made of it stays in the cache."""

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
      most: elements of a tile.
      row: a row of this many elements is a tile.
      untiled: tensors of up to this many elements are one tile.
      slack: how many times fewer of an axis than would fit a tile may have, to divide it; else the
        axis stays whole, so that a prime number of columns does not mean tiles of one element.
    """

    most: int
    row: int
    untiled: int
    slack: int


CPU = Tiling(most=1024, row=128, untiled=4096, slack=8)
"""32 units of a tile take 128 kB, which the cache holds; several rows compile to a slower loop."""

ACCELERATOR = Tiling(most=1 << 20, row=1 << 20, untiled=1 << 20, slack=64)
"""32 units of a tile take 128 MB; a loop over small tiles would be one of tiny launches."""

SMALL = 4096
"""What is left of tensors of up to this many elements is summed at once, not row by row."""

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
    """Chooses for the device that programs are compiled for."""
    return CPU if jax.default_backend() == "cpu" else ACCELERATOR


def tile_shape(shape: tuple[int, ...], sizes: Tiling) -> tuple[int, ...]:
    """Chooses tiles that divide every axis: a row or a part of one, or rows of few columns."""
    if prod(shape) <= sizes.untiled:
        return shape
    tile: list[int] = []
    for size in reversed(shape):
        fits = max(sizes.most // prod(tile), 1) if prod(tile) < sizes.row else 1
        least = max(fits // sizes.slack, 1)
        divisors = (d for d in range(min(fits, size), least - 1, -1) if size % d == 0)
        tile.insert(0, next(divisors, size))
    return tuple(tile)


def in_turn(function: Callable[..., Any], size: int) -> Callable[..., Any]:
    """Makes a function that on CPU, vmapped, takes members in turn, as many at once as fill a tile.

    A batch is an axis of every array in between, and those of a population leave the cache. Other
    devices want the whole batch. Forward mode and `jax.grad` are not supported.

    Args:
      function: of trees of arrays, to a tree of arrays; it closes over no tracer.
      size: elements of the tensor that it works on.
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
            made = in_turn(jax.vmap(function, axes), count * size)(*arguments)
        return made, jax.tree.map(lambda _: True, made)

    return one


def _mapped(
    function: Callable[..., Any], batched: Any, arguments: tuple[Any, ...], together: int
) -> Any:
    """Maps a function over the leaves that are batched, so many members at once."""
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
    """Averages elementwise functions over axes, which stay with size 1.

    Parts are added up element by element, and what is left as a product with ones: on CPU that is
    ten times faster than the mean of an expression, which is not vectorised, and it compiles
    faster.

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
            return jnp.concatenate([_added(x, later) for x in kinds])
        return jnp.sum(_rows_added(kinds, cut), later, keepdims=True)

    pieces = [piece(i * length, (i + 1) * length) for i in range(parts)]
    sums = added([sum(x[1:], x[0]) for x in zip(*pieces, strict=True)])
    if parts * length < shape[cut]:
        sums = sums + added(piece(parts * length, shape[cut]))
    return sums / prod(shape[axis] for axis in axes)


def _added(x: Array, axes: Sequence[int]) -> Array:
    """Sums over axes, which stay with size 1, as one product with several equal columns of ones."""
    others = [axis for axis in range(x.ndim) if axis not in axes]
    flat = x.transpose(*others, *axes).reshape(*[x.shape[axis] for axis in others], -1)
    ones = jnp.ones((flat.shape[-1], 4), jnp.float32)
    sums = jnp.matmul(flat, ones, precision=jax.lax.Precision.HIGHEST)[..., 0]
    return jnp.expand_dims(sums, axes)


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
