"""Exact expected returns of levels by dynamic programming.

A state is the agent's cell and the set of present objects, with the number of steps left. With
objects in fixed cells there are `H * W * 2^M` states, few enough to enumerate. Returns are
undiscounted sums of rewards over one episode.

Objects change independently in a step, so the expectation over the next set of objects is taken one
object at a time: `M` passes over the values instead of `4^M`.
"""

import jax
import jax.numpy as jnp

from metarl.core.errors import ConfigError
from metarl.core.types import Array
from metarl.envs.gridworld.dynamics import MOVES
from metarl.envs.gridworld.level import Level, LevelShape, open_cells, shape_of

MOST_STATES = 2**22
"""Largest number of states that the oracle accepts (16 MiB of values)."""


def optimal_return(level: Level) -> Array:
    """Returns the largest expected return of an episode, over all time-dependent policies.

    It can be jitted and vmapped; then a level with random objects gives NaN instead of an error.

    Args:
      level: level with objects in fixed cells; its start may be random.

    Returns:
      Float32 scalar.

    Raises:
      ConfigError: objects are in random cells (too many states for an exact result), or there are
        more than `MOST_STATES` states.
    """
    _check(level)
    return _optimal_return(level)


def optimal_policy(level: Level, horizon: int) -> Array:
    """Returns the optimal action in every state at every time, int32 `[horizon, S]`.

    States are indexed by `state_index`. Of equally good actions the first is returned; rows beyond
    the level's horizon are undefined. `jax.nn.one_hot(actions, len(ACTIONS))` is the policy for
    `policy_return`.

    Args:
      level: level, see `optimal_return`.
      horizon: number of rows, at least the level's horizon (static, so that it works under `vmap`).

    Raises:
      ConfigError: see `optimal_return`; or the level's own horizon is longer.
    """
    _check(level)
    if _concrete(level.horizon) and int(level.horizon) > horizon:
        raise ConfigError(f"The level's horizon is {int(level.horizon)}, more than {horizon}.")
    return _optimal_policy(level, horizon)


def policy_return(level: Level, policy: Array) -> Array:
    """Returns the exact expected return of a policy, float32 scalar.

    Args:
      level: level, see `optimal_return`.
      policy: probabilities of the actions in every state, `[S, A]`; or at every time and in every
        state, `[T, S, A]` with `T` at least the level's horizon.

    Raises:
      ConfigError: see `optimal_return`; or the policy has another shape.

    Example:
      >>> states = jnp.eye(shape_of(level).states)  # doctest: +SKIP
      >>> policy_return(level, jax.nn.softmax(apply(params, states)))  # doctest: +SKIP
    """
    _check(level)
    expected = (shape_of(level).states, len(MOVES))
    if policy.ndim not in (2, 3) or policy.shape[-2:] != expected:
        raise ConfigError(
            f"A policy of this level is [..., {expected[0]}, {expected[1]}], got {policy.shape}."
        )
    if policy.ndim == 3 and _concrete(level.horizon) and int(level.horizon) > len(policy):
        raise ConfigError(
            f"The policy has {len(policy)} steps, the level a horizon of {int(level.horizon)}."
        )
    return _policy_return(level, policy)


@jax.jit
def _optimal_return(level: Level) -> Array:
    values = _zeros(level)
    values = jax.lax.fori_loop(
        0, level.horizon, lambda _, v: jnp.max(_action_values(level, v), axis=0), values
    )
    return _initial(level, values)


@jax.jit
def _policy_return(level: Level, policy: Array) -> Array:
    shape = shape_of(level)

    def back_up(steps_left: Array, values: Array) -> Array:
        now = policy if policy.ndim == 2 else policy[level.horizon - 1 - steps_left]
        weights = jnp.moveaxis(now, -1, 0).reshape(-1, *_axes(shape))
        return jnp.sum(weights * _action_values(level, values), axis=0)

    return _initial(level, jax.lax.fori_loop(0, level.horizon, back_up, _zeros(level)))


def _optimal_policy_of(level: Level, horizon: int) -> Array:
    def back_up(values: Array, time: Array) -> tuple[Array, Array]:
        action_values = _action_values(level, values)
        best = jnp.where(time < level.horizon, jnp.max(action_values, axis=0), 0.0)
        return best, jnp.argmax(action_values, axis=0).reshape(-1).astype(jnp.int32)

    return jax.lax.scan(back_up, _zeros(level), jnp.arange(horizon), reverse=True)[1]


_optimal_policy = jax.jit(_optimal_policy_of, static_argnums=1)


def _action_values(level: Level, values: Array) -> Array:
    """Makes one Bellman backup.

    Args:
      level: level.
      values: values of every state after the step, `[2, ..., 2, H, W]`, see `_axes`.

    Returns:
      Values of the actions before the step, `[A, 2, ..., 2, H, W]`.
    """
    arrived = _arrival_values(level, values)
    open_ = open_cells(level)
    results = []
    for row, column in MOVES:
        shift = (-row, -column)
        target = jnp.roll(arrived, shift, (-2, -1))
        # Cells that the roll wraps around are outside the grid.
        padded = jnp.pad(open_, 1)
        height, width = open_.shape
        free = padded[1 + row : 1 + row + height, 1 + column : 1 + column + width]
        results.append(jnp.where(_like(free, arrived), target, arrived))
    return jnp.stack(results)


def _arrival_values(level: Level, values: Array) -> Array:
    """Returns reward plus value when the agent arrives in a cell with the old set of objects."""
    shape = shape_of(level)
    cells = jnp.arange(shape.cells).reshape(shape.height, shape.width)
    reward, survival = jnp.zeros_like(values), jnp.ones_like(values)
    for i in range(shape.objects):
        axis = _axis(shape, i)
        absent, present = (jax.lax.index_in_dim(values, k, axis, keepdims=False) for k in (0, 1))
        here = cells == level.objects[i, 0] * shape.width + level.objects[i, 1]
        here = _like(here, absent)
        comes_back = jnp.where(level.exists[i], level.p_respawn[i], 0.0)
        values = jnp.stack(
            [absent + comes_back * (present - absent), jnp.where(here, absent, present)], axis
        )
        there = jnp.arange(2) == 1
        collected = _like(here, absent)[None] & there.reshape(2, *[1] * absent.ndim)
        collected = jnp.moveaxis(collected, 0, axis)
        reward += jnp.where(collected, level.rewards[i], 0.0)
        survival *= jnp.where(collected, 1.0 - level.p_terminate[i], 1.0)
    return reward + survival * values


def _initial(level: Level, values: Array) -> Array:
    """Returns the value of the start of an episode; NaN for random objects."""
    shape = shape_of(level)
    values = values.reshape(2**shape.objects, shape.cells)
    everything = jnp.sum(jnp.where(level.exists, 2 ** jnp.arange(shape.objects), 0))
    by_cell = values[everything]
    open_ = open_cells(level).reshape(-1)
    average = jnp.sum(jnp.where(open_, by_cell, 0.0)) / jnp.sum(open_)
    fixed = by_cell[level.start[0] * shape.width + level.start[1]]
    worth = jnp.where(level.random_start, average, fixed)
    return jnp.where(level.random_objects, jnp.nan, worth)


def _axes(shape: LevelShape) -> tuple[int, ...]:
    """Returns the shape of a value table: one axis of size 2 per object, last first, and the grid.

    Flattened, its order is that of `state_index`.
    """
    return (*[2] * shape.objects, shape.height, shape.width)


def _axis(shape: LevelShape, i: int) -> int:
    return shape.objects - 1 - i


def _zeros(level: Level) -> Array:
    return jnp.zeros(_axes(shape_of(level)), jnp.float32)


def _like(grid: Array, values: Array) -> Array:
    """Adds the leading axes of a value table to `[H, W]`."""
    return grid.reshape((1,) * (values.ndim - grid.ndim) + grid.shape)


def _concrete(x: Array) -> bool:
    return not isinstance(x, jax.core.Tracer)


def _check(level: Level) -> None:
    states = shape_of(level).states
    if states > MOST_STATES:
        raise ConfigError(f"A level of {states} states: the oracle takes at most {MOST_STATES}.")
    if _concrete(level.random_objects) and bool(jnp.any(level.random_objects)):
        raise ConfigError(
            "The optimal return of a level with random objects is not known: its states are all "
            "placements of the objects. Set random_objects to False."
        )
