"""Uniform sampling of distinct cells."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from metarl.core.types import Array, Key


class Placement(NamedTuple):
    """Cells assigned to objects.

    Attributes:
      cell: flat index of the cell, int32 `[M]`; undefined where `found` is False.
      found: whether a cell was assigned, bool `[M]`.
    """

    cell: Array
    found: Array


def distinct_cells(key: Key, open_: Array, count: int) -> Array:
    """Samples a uniform sequence of distinct open cells.

    It computes the first `count` elements of a Fisher-Yates shuffle, with `count` random numbers
    and no sort.

    Args:
      key: PRNG key.
      open_: whether a cell can be sampled, bool `[C]`.
      count: length of the sequence.

    Returns:
      Flat indices, int32 `[count]`; -1 where no cells are left.
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
        for j in reversed(range(k)):  # undo the swaps: which element was moved here?
            rank = jnp.where(rank == swap[j], j, rank)
        ranks.append(rank)
    # The cell of a rank is where the cumulative count first exceeds it. Bisection is several times
    # faster on CPU than counting.
    running = jnp.cumsum(open_)
    cells = jnp.searchsorted(running, jnp.stack(ranks), side="right", method="scan_unrolled")
    return jnp.where(left > 0, cells, -1).astype(jnp.int32)


def place(candidates: Array, occupied: Array, wanted: Array) -> Placement:
    """Assigns the next unoccupied candidate to every object that needs a cell.

    If the candidates are a uniform sequence of distinct open cells, the unoccupied candidates are a
    uniform sequence of the unoccupied cells; so the placement is uniform without replacement.
    `M + 1` candidates suffice, since the agent and the other objects occupy the rest.

    Args:
      candidates: distinct cells, -1 for none, int32 `[K]`.
      occupied: occupied cells, -1 for none, int32 `[N]`.
      wanted: whether an object needs a cell, bool `[M]`.
    """
    taken = jnp.any(candidates[:, None] == occupied[None, :], axis=1)
    usable = (candidates >= 0) & ~taken
    turn, order = jnp.cumsum(wanted), jnp.cumsum(usable)
    match = (order[None, :] == turn[:, None]) & usable[None, :] & wanted[:, None]
    cell = jnp.sum(jnp.where(match, candidates[None, :], 0), axis=1, dtype=jnp.int32)
    return Placement(cell, jnp.any(match, axis=1))
