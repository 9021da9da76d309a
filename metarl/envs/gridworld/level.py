"""Levels of grid worlds as data: all differences between levels are in arrays.

Levels of one `LevelShape` have the same tree structure and array shapes, independent of their size,
so that many different levels can be stepped in one `vmap`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from metarl.core.errors import ConfigError, check_positive, check_range
from metarl.core.types import Array

WALL, START, FREE = "#", "A", ". "


class Level(NamedTuple):
    """A level: the `params` of a grid world.

    Cells are (row, column) from the upper left corner. `H`, `W` and `M` are the static maxima of
    the `LevelShape`; entries beyond `height`, `width` or `exists` are padding.

    Attributes:
      height: number of rows, int32 scalar.
      width: number of columns, int32 scalar.
      walls: whether a cell is a wall, bool `[H, W]`.
      start: cell of the agent at the start of an episode, int32 `[2]`.
      random_start: whether the agent starts in a random free cell instead, bool scalar.
      objects: cells of the objects, int32 `[M, 2]`.
      exists: whether an object exists, bool `[M]`; all existing objects are present at the start.
      rewards: reward for collecting an object, float32 `[M]`.
      p_terminate: probability that collecting an object terminates the episode, float32 `[M]`.
      p_respawn: probability per step that a collected object respawns, float32 `[M]`.
      random_objects: whether objects start and respawn in random free cells instead, bool scalar.
      horizon: number of steps after which an episode is truncated, int32 scalar.
    """

    height: Array
    width: Array
    walls: Array
    start: Array
    random_start: Array
    objects: Array
    exists: Array
    rewards: Array
    p_terminate: Array
    p_respawn: Array
    random_objects: Array
    horizon: Array


@dataclass(frozen=True)
class LevelShape:
    """Static shape of a set of levels.

    Attributes:
      height: maximum number H of rows.
      width: maximum number W of columns.
      objects: maximum number M of objects.
    """

    height: int
    width: int
    objects: int

    def __post_init__(self) -> None:
        check_positive(height=self.height, width=self.width, objects=self.objects)

    @property
    def cells(self) -> int:
        """Number of cells, `H * W`."""
        return self.height * self.width

    @property
    def states(self) -> int:
        """Number of states (cell of the agent, set of present objects), `H * W * 2^M`."""
        return self.cells * 2**self.objects

    def covers(self, other: "LevelShape") -> bool:
        """Returns whether levels of the other shape fit into this one."""
        return (
            self.height >= other.height
            and self.width >= other.width
            and self.objects >= other.objects
        )


@dataclass(frozen=True)
class Item:
    """Properties of an object.

    Attributes:
      reward: reward for collecting the object.
      p_terminate: probability that collecting it terminates the episode.
      p_respawn: probability per step that it respawns.
    """

    reward: float
    p_terminate: float = 0.0
    p_respawn: float = 0.0

    def __post_init__(self) -> None:
        if not np.isfinite(self.reward):
            raise ConfigError(f"The reward of an item must be finite, got {self.reward}.")
        check_range(0.0, 1.0, p_terminate=self.p_terminate, p_respawn=self.p_respawn)


def shape_of(level: Level) -> LevelShape:
    """Returns the static shape of a (single) level."""
    height, width = level.walls.shape[-2:]
    return LevelShape(height, width, level.exists.shape[-1])


def open_cells(level: Level) -> Array:
    """Returns the mask of cells within the grid and without a wall, bool `[H, W]`."""
    shape = shape_of(level)
    rows = jnp.arange(shape.height)[:, None] < level.height
    columns = jnp.arange(shape.width)[None, :] < level.width
    return rows & columns & ~level.walls


def parse_map(text: str) -> list[str]:
    """Splits a map into rows of equal length; spaces around the whole are ignored.

    Raises:
      ConfigError: the map is empty, or its rows differ in length.
    """
    rows = [row.strip() for row in text.strip().splitlines()]
    if not rows or len({len(row) for row in rows}) != 1:
        raise ConfigError(f"Rows of a map must be of one length, got {[len(row) for row in rows]}.")
    return rows


def level_from_map(
    text: str,
    items: Mapping[str, Item],
    horizon: int,
    shape: LevelShape | None = None,
    random_start: bool = False,
    random_objects: bool = False,
) -> Level:
    """Makes a level from a text map.

    Args:
      text: map, one line per row: `#` is a wall, `.` a free cell, `A` the start of the agent, any
        other character an object. The border needs no walls.
      items: objects by character; a character may occur several times in the map.
      horizon: steps of an episode.
      shape: padded shape, so that the level can be batched with others; None = no padding.
      random_start: whether the start is random, see `Level`; the map then needs no `A`.
      random_objects: whether objects are in random cells, see `Level`; the map then only sets their
        number.

    Raises:
      ConfigError: the map names an unknown object or has no single start, does not fit the shape,
        or the level is not valid (see `check_level`).

    Example:
      >>> level = level_from_map("A..g", {"g": Item(reward=1.0, p_terminate=1.0)}, horizon=10)
      >>> level.walls.shape
      (1, 4)
    """
    rows = parse_map(text)
    check_positive(horizon=horizon)
    cells = {(r, c): mark for r, row in enumerate(rows) for c, mark in enumerate(row)}
    starts = [cell for cell, mark in cells.items() if mark == START]
    objects = [(cell, mark) for cell, mark in cells.items() if mark not in WALL + START + FREE]
    unknown = {mark for _, mark in objects} - set(items)
    if unknown:
        raise ConfigError(f"Unknown objects {sorted(unknown)} in a map, items: {sorted(items)}.")
    if len(starts) > 1 or not (starts or random_start):
        raise ConfigError(f"A map needs one start {START!r}, this one has {len(starts)}.")
    own = LevelShape(len(rows), len(rows[0]), max(len(objects), 1))
    shape = own if shape is None else shape
    if not shape.covers(own):
        raise ConfigError(f"A map of {own} does not fit into {shape}.")

    walls = np.zeros((shape.height, shape.width), bool)
    for cell, mark in cells.items():
        walls[cell] = mark == WALL
    placed = [items[mark] for _, mark in objects]
    padding = (0, shape.objects - len(placed))
    places = np.array([cell for cell, _ in objects], np.int32).reshape(-1, 2)

    def column(name: str) -> np.ndarray:
        return np.pad(np.array([getattr(item, name) for item in placed], np.float32), padding)

    host: dict[str, Any] = {
        "height": np.int32(own.height),
        "width": np.int32(own.width),
        "walls": walls,
        "start": np.array([*starts, *np.argwhere(~walls), (0, 0)][0], np.int32),
        "random_start": np.bool_(random_start),
        "objects": np.pad(places, (padding, (0, 0))),
        "exists": np.arange(shape.objects) < len(placed),
        "rewards": column("reward"),
        "p_terminate": column("p_terminate"),
        "p_respawn": column("p_respawn"),
        "random_objects": np.bool_(random_objects),
        "horizon": np.int32(horizon),
    }
    return jax.tree.map(jnp.asarray, check_level(Level(**host)))


def check_level(level: Level) -> Level:
    """Returns a single, concrete level if it is valid.

    Raises:
      ConfigError: its size exceeds its arrays, its horizon is not positive, a probability lies
        outside [0, 1], a reward is not finite, or the agent or an object has no free cell to be in
        or shares it with another object.
    """
    shape, host = shape_of(level), jax.tree.map(np.asarray, level)
    check_range(1, shape.height, height=int(host.height))
    check_range(1, shape.width, width=int(host.width))
    check_positive(horizon=int(host.horizon))
    for name in ("p_terminate", "p_respawn"):
        values = getattr(host, name)
        if not np.all((values >= 0) & (values <= 1)):
            raise ConfigError(f"{name} must lie in [0, 1], got {values.tolist()}.")
    if not np.all(np.isfinite(host.rewards)):
        raise ConfigError(f"rewards must be finite, got {host.rewards.tolist()}.")

    open_ = ~host.walls.copy()
    open_[int(host.height) :], open_[:, int(host.width) :] = False, False
    objects, count = host.objects[host.exists], int(host.exists.sum())
    needed = 1 + count if host.random_objects else 1
    if open_.sum() < needed:
        raise ConfigError(f"A level needs {needed} free cells, this one has {open_.sum()}.")
    if not host.random_start:
        _check_cell("The agent starts", host.start, open_)
    if not host.random_objects:
        for cell in objects:
            _check_cell("An object lies", cell, open_)
        if len({tuple(cell) for cell in objects.tolist()}) < count:
            raise ConfigError(f"Two objects share a cell: {objects.tolist()}.")
    return level


def _check_cell(what: str, cell: np.ndarray, open_: np.ndarray) -> None:
    row, column = cell.tolist()
    inside = 0 <= row < open_.shape[0] and 0 <= column < open_.shape[1]
    if not (inside and open_[row, column]):
        raise ConfigError(f"{what} in cell {(row, column)}, which is a wall or outside the grid.")
