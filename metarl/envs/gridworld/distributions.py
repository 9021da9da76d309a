"""Distributions over levels.

Every sampled level passes `check_level`; agent and objects start in distinct free cells. With
scattered walls an object may be unreachable, as in the published distributions, unless `reachable`
is set.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import jax
import jax.numpy as jnp

from metarl.core.errors import ConfigError
from metarl.core.keys import split_named
from metarl.core.types import Array, Key
from metarl.envs.gridworld.items import Items, check_interval, log_uniform
from metarl.envs.gridworld.layouts import Layout, NoWalls, ScatteredWalls, reachable_cells
from metarl.envs.gridworld.level import Level, LevelShape


@dataclass(frozen=True)
class LevelDistribution:
    """Random levels. Pairs are (low, high), both inclusive.

    Attributes:
      horizon: range of the steps of an episode, log-uniform integers.
      items: distribution over objects; their cells and the agent's start are uniform.
      height: range of the number of rows, uniform.
      width: range of the number of columns; None = square levels.
      layout: distribution over walls.
      random_objects: whether objects are in random cells, see `Level`.
      random_start: whether the agent starts in a random cell, see `Level`.
      reachable: whether objects are placed in cells that the agent can reach, if there are enough.
      lifetime: range of the updates that an agent has for a level, log-uniform; used to pair levels
        with lifetimes (`metarl.tasks.lifetimes`).
      shape: static shape of the levels; None = the smallest that holds all of them.
    """

    horizon: tuple[int, int]
    items: Items
    height: tuple[int, int]
    width: tuple[int, int] | None = None
    layout: Layout = field(default_factory=NoWalls)
    random_objects: bool = False
    random_start: bool = False
    reachable: bool = False
    lifetime: tuple[int, int] = (1000, 1000)
    shape: LevelShape | None = None

    def __post_init__(self) -> None:
        most = float("inf")
        columns = self.width or self.height
        check_interval(
            1, most, horizon=self.horizon, height=self.height, width=columns, lifetime=self.lifetime
        )
        needed = LevelShape(self.height[1], columns[1], self.items.most)
        if self.height[0] * columns[0] < needed.objects + 1:
            raise ConfigError(
                f"A grid of {self.height[0]} by {columns[0]} cells has no room for the agent and "
                f"{needed.objects} objects."
            )
        if not isinstance(self.layout, NoWalls | ScatteredWalls) and (
            self.height[0] < self.height[1] or columns[0] < columns[1]
        ):
            raise ConfigError(f"{type(self.layout).__name__} needs a grid of one size.")
        if self.shape is None:
            object.__setattr__(self, "shape", needed)
        elif not self.shape.covers(needed):
            raise ConfigError(f"Levels of {needed} do not fit into {self.shape}.")

    def sample(self, key: Key) -> Level:
        """Samples one level."""
        key_size, key_walls, key_items, key_cells, key_horizon = split_named(
            key, "size", "walls", "items", "cells", "horizon"
        )
        assert self.shape is not None  # set above
        height, width = self._size(key_size)
        rows, columns = self.height[1], (self.width or self.height)[1]
        walls = self.layout.sample(key_walls, rows, columns)
        inside = (jnp.arange(rows)[:, None] < height) & (jnp.arange(columns)[None, :] < width)
        table = self.items.sample(key_items, self.shape.objects)
        agent, objects = self._cells(key_cells, walls, inside)
        walls = _without(walls, agent[None])
        walls = _without(walls, jnp.where(table.exists, objects, -1))
        beyond = (self.shape.height - rows, self.shape.width - columns)
        return Level(
            height=height,
            width=width,
            walls=jnp.pad(walls, ((0, beyond[0]), (0, beyond[1]))),
            start=_coordinates(agent, columns),
            random_start=jnp.asarray(self.random_start),
            objects=_coordinates(objects, columns),
            exists=table.exists,
            rewards=table.rewards,
            p_terminate=table.p_terminate,
            p_respawn=table.p_respawn,
            random_objects=jnp.asarray(self.random_objects),
            horizon=jnp.round(log_uniform(key_horizon, self.horizon)).astype(jnp.int32),
        )

    def _size(self, key: Key) -> tuple[Array, Array]:
        key_height, key_width = split_named(key, "height", "width")
        height = jax.random.randint(key_height, (), self.height[0], self.height[1] + 1)
        if self.width is None:
            return height, height
        return height, jax.random.randint(key_width, (), self.width[0], self.width[1] + 1)

    def _cells(self, key: Key, walls: Array, inside: Array) -> tuple[Array, Array]:
        """Samples the cells of the agent, scalar, and of the objects, `[M]`; flat indices.

        Cells are ranked by random numbers, so that the first are uniform. Penalties rank walls
        last: they are chosen (and then removed) only if a grid has too few free cells.
        """
        assert self.shape is not None
        key_agent, key_objects = split_named(key, "agent", "objects")
        penalty = jnp.where(inside, 2.0 * walls, jnp.inf).reshape(-1)
        agent = jnp.argmin(penalty + jax.random.uniform(key_agent, penalty.shape))
        scores = penalty + jax.random.uniform(key_objects, penalty.shape)
        if self.reachable:
            scores += ~reachable_cells(inside & ~walls, agent).reshape(-1)
        scores = jnp.where(jnp.arange(scores.size) == agent, jnp.inf, scores)
        # A padded shape may have more objects than the grid has cells.
        own = min(self.shape.objects, scores.size)
        _, objects = jax.lax.top_k(-scores, own)
        return agent, jnp.pad(objects, (0, self.shape.objects - own))


@dataclass(frozen=True)
class LevelMixture:
    """A uniform mixture of level distributions, padded to a common shape.

    Attributes:
      parts: distributions, equally likely.
      shape: static shape of the levels; None = the smallest that holds those of every part.
    """

    parts: tuple[LevelDistribution, ...]
    shape: LevelShape | None = None

    def __post_init__(self) -> None:
        if not self.parts or len({part.lifetime for part in self.parts}) != 1:
            raise ConfigError("A mixture needs parts, and parts of one lifetime.")
        shape = self.shape or common_shape([part.shape for part in self.parts if part.shape])
        object.__setattr__(self, "shape", shape)
        object.__setattr__(self, "parts", tuple(replace(p, shape=shape) for p in self.parts))

    @property
    def lifetime(self) -> tuple[int, int]:
        """Range of lifetimes, see `LevelDistribution`."""
        return self.parts[0].lifetime

    def sample(self, key: Key) -> Level:
        """Samples one level."""
        key_part, key_level = split_named(key, "part", "level")
        part = jax.random.randint(key_part, (), 0, len(self.parts))
        return jax.lax.switch(part, [part.sample for part in self.parts], key_level)


def common_shape(shapes: Sequence[LevelShape]) -> LevelShape:
    """Returns the smallest shape that covers all the others."""
    return LevelShape(
        max(shape.height for shape in shapes),
        max(shape.width for shape in shapes),
        max(shape.objects for shape in shapes),
    )


def _coordinates(flat: Array, columns: int) -> Array:
    return jnp.stack([flat // columns, flat % columns], axis=-1).astype(jnp.int32)


def _without(walls: Array, cells: Array) -> Array:
    """Removes the walls of some flat cells (-1 = none)."""
    chosen = jnp.any(jnp.arange(walls.size)[:, None] == cells[None, :], axis=1)
    return walls & ~chosen.reshape(walls.shape)
