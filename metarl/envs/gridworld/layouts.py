"""Distributions over walls: none, a fixed map, scattered walls, or a random maze."""

from dataclasses import dataclass
from typing import Protocol

import jax
import jax.numpy as jnp
import numpy as np

from metarl.core.errors import ConfigError, check_range
from metarl.core.types import Array, Key
from metarl.envs.gridworld.level import WALL, parse_map


class Layout(Protocol):
    """A distribution over walls."""

    def sample(self, key: Key, rows: int, columns: int) -> Array:
        """Samples the walls of a grid, bool `[rows, columns]`."""
        ...


@dataclass(frozen=True)
class NoWalls:
    """An empty grid."""

    def sample(self, key: Key, rows: int, columns: int) -> Array:
        """Returns no walls."""
        del key
        return jnp.zeros((rows, columns), bool)


@dataclass(frozen=True)
class DrawnWalls:
    """Fixed walls from a map.

    Attributes:
      text: map of the size of the grid, `#` for walls.
    """

    text: str

    def __post_init__(self) -> None:
        parse_map(self.text)

    def sample(self, key: Key, rows: int, columns: int) -> Array:
        """Returns the walls.

        Raises:
          ConfigError: the grid and the map differ in size.
        """
        del key
        drawn = np.array([[mark == WALL for mark in row] for row in parse_map(self.text)])
        if drawn.shape != (rows, columns):
            raise ConfigError(f"A map of {drawn.shape} cells cannot fill {(rows, columns)}.")
        return jnp.asarray(drawn)


@dataclass(frozen=True)
class ScatteredWalls:
    """Walls in distinct cells, uniformly sampled from those of the largest grid.

    A smaller grid has only the walls within it, so the density is the same for all sizes. Cells may
    be unreachable.

    Attributes:
      count: number of walls in the largest grid.
    """

    count: int

    def __post_init__(self) -> None:
        check_range(0, float("inf"), count=self.count)

    def sample(self, key: Key, rows: int, columns: int) -> Array:
        """Samples walls."""
        order = jax.random.permutation(key, rows * columns)
        return (order < self.count).reshape(rows, columns)


@dataclass(frozen=True)
class MazeWalls:
    """A random perfect maze: exactly one path between any two free cells, so levels are solvable.

    Rooms are the cells with even row and column. The maze is the minimum spanning tree of the rooms
    under random weights, by Prim's algorithm (1957).
    """

    def sample(self, key: Key, rows: int, columns: int) -> Array:
        """Samples a maze.

        Raises:
          ConfigError: a side is even.
        """
        if rows % 2 == 0 or columns % 2 == 0:
            raise ConfigError(f"A maze has odd sides, got {rows} by {columns}.")
        doors, sides = _doors(rows, columns)
        rooms, ends = (rows + 1) // 2 * ((columns + 1) // 2), jnp.asarray(sides)
        weights = jax.random.uniform(key, (len(doors),))

        def grow(_: int, carry: tuple[Array, Array]) -> tuple[Array, Array]:
            reached, is_open = carry
            leads_out = reached[ends[:, 0]] != reached[ends[:, 1]]
            door = jnp.argmin(jnp.where(leads_out, weights, jnp.inf))
            return reached.at[ends[door]].set(True), is_open.at[door].set(True)

        reached, is_open = jnp.arange(rooms) == 0, jnp.zeros(len(doors), bool)
        if rooms > 1:
            _, is_open = jax.lax.fori_loop(1, rooms, grow, (reached, is_open))
        even = (np.arange(rows)[:, None] % 2 == 0) & (np.arange(columns)[None, :] % 2 == 0)
        walls = jnp.asarray(~even)
        return walls.at[doors[:, 0], doors[:, 1]].set(~is_open)


def _doors(rows: int, columns: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns the cells between two rooms `[D, 2]`, and the indices of those rooms `[D, 2]`."""
    doors, ends = [], []
    across = (columns + 1) // 2
    for row in range(rows):
        for column in range(columns):
            if row % 2 != column % 2:
                before = (row // 2) * across + column // 2
                doors.append((row, column))
                ends.append((before, before + (across if row % 2 else 1)))
    return np.array(doors, int).reshape(-1, 2), np.array(ends, int).reshape(-1, 2)


def reachable_cells(open_: Array, cell: Array) -> Array:
    """Returns the open cells reachable from a flat cell, bool `[H, W]`; a flood fill."""
    shape = open_.shape
    start = (jnp.arange(open_.size) == cell).reshape(shape)

    def spread(carry: tuple[Array, Array]) -> tuple[Array, Array]:
        reached, _ = carry
        padded = jnp.pad(reached, 1)
        near = padded[2:, 1:-1] | padded[:-2, 1:-1] | padded[1:-1, 2:] | padded[1:-1, :-2]
        return reached | (near & open_), reached

    reached, _ = jax.lax.while_loop(
        lambda carry: jnp.any(carry[0] != carry[1]), spread, (start, jnp.zeros(shape, bool))
    )
    return reached
