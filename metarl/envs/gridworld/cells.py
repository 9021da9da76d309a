"""Choosing random cells: distinct ones, uniformly, with few random numbers."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from metarl.core.types import Array, Key


class Placement(NamedTuple):
    """Cells that objects were given.

    Attributes:
      cell: flat index of the cell, int32 `[M]`; of no meaning where none was given.
      found: whether one was given, bool `[M]`.
    """

    cell: Array
    found: Array


def distinct_cells(key: Key, open_: Array, count: int) -> Array:
    """Draws a uniform sequence of distinct open cells.

    A shuffle of Fisher and Yates that only works out its first `count` entries: `count` random
    numbers, and no sort.

    Args:
      key: of the draw.
      open_: the cells to draw from, bool `[C]`.
      count: length of the sequence.

    Returns:
      Flat indices, int32 `[count]`; -1 where there are no more cells.
    """
    total = jnp.sum(open_)
    uniform = jax.random.uniform(key, (count,))
    position = jnp.arange(count)
    left = total - position
    # A product of a float just below one may round up to `left`.
    swap = position + jnp.minimum((uniform * left).astype(jnp.int32), left - 1)
    ranks = []
    for k in range(count):
        rank = swap[k]
        for j in reversed(range(k)):  # undo the swaps: which entry had come to this place?
            rank = jnp.where(rank == swap[j], j, rank)
        ranks.append(rank)
    # The cell of a rank is where the running count first exceeds it. Bisection, because counting
    # the cells before it is several times slower on CPU.
    running = jnp.cumsum(open_)
    cells = jnp.searchsorted(running, jnp.stack(ranks), side="right", method="scan_unrolled")
    return jnp.where(left > 0, cells, -1).astype(jnp.int32)


def place(candidates: Array, occupied: Array, wanted: Array) -> Placement:
    """Gives every object that wants one the next candidate that is not occupied.

    Where candidates are a uniform sequence of distinct open cells, what is left of them without the
    occupied ones is a uniform sequence of the unoccupied ones; so the placement is uniform without
    replacement. `M + 1` candidates suffice where agent and the other objects occupy the rest.

    Args:
      candidates: distinct cells, -1 for none, int32 `[K]`.
      occupied: cells that are taken, -1 for none, int32 `[N]`.
      wanted: which objects want a cell, bool `[M]`.
    """
    taken = jnp.any(candidates[:, None] == occupied[None, :], axis=1)
    usable = (candidates >= 0) & ~taken
    turn, order = jnp.cumsum(wanted), jnp.cumsum(usable)
    match = (order[None, :] == turn[:, None]) & usable[None, :] & wanted[:, None]
    cell = jnp.sum(jnp.where(match, candidates[None, :], 0), axis=1, dtype=jnp.int32)
    return Placement(cell, jnp.any(match, axis=1))
