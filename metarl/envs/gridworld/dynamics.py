"""Dynamics of grid worlds: reset and step.

A step consists of, in this order:
  1. The agent moves to the neighboring cell, unless a wall or the border blocks it.
  2. A present object in the agent's cell is collected, also if the agent did not move: the agent
     gets its reward, the object disappears, and the episode terminates with its probability.
  3. Every object that was absent before the step respawns with its probability, in its own cell
     (even if the agent is there) or, in levels with random objects, in a cell sampled uniformly
     from those without wall, agent or object. An object that was just collected cannot respawn yet.
  4. The episode is truncated at the horizon, unless it terminated.

Reference: Oh et al. 2020, arXiv:2007.08794, appendix A; with the five actions and the rules of
Jackson et al. 2023, arXiv:2310.02782.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from metarl.core.keys import split_named
from metarl.core.types import Array, Key
from metarl.envs.gridworld.cells import distinct_cells, place
from metarl.envs.gridworld.level import Level, open_cells, shape_of

ACTIONS = ("up", "down", "left", "right", "stay")
MOVES = ((-1, 0), (1, 0), (0, -1), (0, 1), (0, 0))
"""Change of (row, column) by every action."""


class GridState(NamedTuple):
    """State of an episode. Cells are flat indices `row * W + column`.

    Attributes:
      time: steps taken, int32 scalar.
      agent: cell of the agent, int32 scalar.
      objects: cells of the objects, int32 `[M]`.
      present: which objects can be collected, bool `[M]`.
    """

    time: Array
    agent: Array
    objects: Array
    present: Array


class GridDraws(NamedTuple):
    """Random numbers of one step.

    Attributes:
      terminate: uniform number for termination, scalar.
      respawn: uniform numbers for respawning, `[M]`.
      cells: distinct open cells in random order, int32 `[M+1]`; -1 if there are too few.
    """

    terminate: Array
    respawn: Array
    cells: Array


class Outcome(NamedTuple):
    """Result of a step: next state, reward, termination and truncation."""

    state: GridState
    reward: Array
    terminated: Array
    truncated: Array


def start(key: Key, level: Level) -> GridState:
    """Starts an episode."""
    shape = shape_of(level)
    cells = distinct_cells(key, open_cells(level).reshape(-1), shape.objects + 1)
    agent = jnp.where(level.random_start, cells[0], _flat(level, level.start))
    placed = place(cells, agent[None], level.exists)
    return GridState(
        time=jnp.zeros((), jnp.int32),
        agent=agent,
        objects=jnp.where(level.random_objects, placed.cell, _flat(level, level.objects)),
        present=level.exists & (placed.found | ~level.random_objects),
    )


def draw(key: Key, level: Level) -> GridDraws:
    """Samples the random numbers of one step."""
    shape = shape_of(level)
    key_terminate, key_respawn, key_cells = split_named(key, "terminate", "respawn", "cells")
    return GridDraws(
        terminate=jax.random.uniform(key_terminate),
        respawn=jax.random.uniform(key_respawn, (shape.objects,)),
        cells=distinct_cells(key_cells, open_cells(level).reshape(-1), shape.objects + 1),
    )


def advance(draws: GridDraws, state: GridState, action: Array, level: Level) -> Outcome:
    """Takes one step."""
    agent = _move(state.agent, action, level)
    collected = state.present & (state.objects == agent)
    survival = jnp.prod(1.0 - jnp.where(collected, level.p_terminate, 0.0))
    terminated = draws.terminate < 1.0 - survival

    kept = state.present & ~collected
    returning = level.exists & ~state.present & (draws.respawn < level.p_respawn)
    occupied = jnp.concatenate([agent[None], jnp.where(kept, state.objects, -1)])
    placed = place(draws.cells, occupied, returning)
    elsewhere = returning & level.random_objects
    time = state.time + 1
    following = GridState(
        time=time,
        agent=agent,
        objects=jnp.where(elsewhere & placed.found, placed.cell, state.objects),
        present=kept | (returning & (placed.found | ~level.random_objects)),
    )
    return Outcome(
        state=following,
        reward=jnp.sum(jnp.where(collected, level.rewards, 0.0)),
        terminated=terminated,
        truncated=(time >= level.horizon) & ~terminated,
    )


def state_index(state: GridState, cells: int) -> Array:
    """Returns the index of a state: `agent + cells * sum_i present_i 2^i`, an int32 scalar."""
    powers = 2 ** jnp.arange(state.present.shape[-1], dtype=jnp.int32)
    return state.agent + cells * jnp.sum(jnp.where(state.present, powers, 0), dtype=jnp.int32)


def _move(agent: Array, action: Array, level: Level) -> Array:
    width = level.walls.shape[-1]
    move = jnp.asarray(MOVES, jnp.int32)[action]
    row, column = agent // width + move[0], agent % width + move[1]
    inside = (row >= 0) & (row < level.height) & (column >= 0) & (column < level.width)
    target = jnp.where(inside, row * width + column, agent)
    return jnp.where(level.walls.reshape(-1)[target], agent, target)


def _flat(level: Level, cells: Array) -> Array:
    """Converts cells `[..., 2]` to flat indices `[...]`."""
    return cells[..., 0] * level.walls.shape[-1] + cells[..., 1]
