"""Grid worlds as environments: observations, and the names `grid/<mode>`."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from metarl.core.errors import ConfigError, check_choice
from metarl.core.options import check_options
from metarl.core.types import Array, Key
from metarl.envs.gridworld.dynamics import (
    ACTIONS,
    GridDraws,
    GridState,
    advance,
    draw,
    start,
    state_index,
)
from metarl.envs.gridworld.level import Level, LevelShape, check_level, open_cells, shape_of
from metarl.envs.gridworld.modes import MODES, mode
from metarl.envs.gridworld.optimal import optimal_return
from metarl.envs.protocol import Environment, Step
from metarl.envs.spaces import Box, Discrete, Space

NAMES = tuple(MODES)

Observe = Callable[[Level, GridState], Array]


def make(name: str, observation: str | None = None, **unknown: object) -> Environment:
    """Makes the grid world of a mode; its default task is one fixed level of the mode.

    Args:
      name: name of the mode, a key of `MODES`.
      observation: type of observations, see `grid_world`; None = `image` for random objects, else
        `tabular`.
      **unknown: unknown options, which raise an error.

    Raises:
      ConfigError: the observation is unknown, or does not distinguish the states of the mode.
    """
    check_options(f"grid/{name}", unknown, ["observation"])
    levels = mode(name)
    level = jax.jit(levels.sample)(jax.random.key(0))
    if observation is None:
        observation = "image" if bool(level.random_objects) else "tabular"
    env = grid_world(level, observation, f"grid/{name}")
    return env.replace(sample_params=levels.sample)


def grid_world(level: Level, observation: str = "tabular", name: str = "grid") -> Environment:
    """Makes the environment of all levels that have the shape of this one.

    Observations (public code appends 0.001 times the time step to each; these do not):
      tabular: the state index as a one-hot vector, float32 `[H * W * 2^M]`.
      index: the state index as an int32 scalar, for networks that embed it; a rollout then needs
        thousands of times less memory.
      image: float32 `[H, W, 2 + M]`; channels are the agent, blocked cells, and every object.

    Args:
      level: default task.
      observation: type of observations, `tabular`, `index` or `image`.
      name: name of the environment.

    Raises:
      ConfigError: the level is not valid, the observation is unknown, or it does not show the cells
        of random objects.
    """
    check_choice("observation", observation, _OBSERVATIONS)
    check_level(level)
    if observation != "image" and bool(level.random_objects):
        raise ConfigError(
            f"{name} puts objects in random cells, which observation {observation!r} does not "
            "show. Permitted: 'image'."
        )
    space, observe = _OBSERVATIONS[observation](shape_of(level))

    def reset(key: Key, level: Level) -> tuple[Array, GridState]:
        state = start(key, level)
        return observe(level, state), state

    def transition(draws: GridDraws, state: GridState, action: Array, level: Level) -> Step:
        outcome = advance(draws, state, action, level)
        obs = observe(level, outcome.state)
        return Step(
            obs, outcome.state, outcome.reward, outcome.terminated, outcome.truncated, info={}
        )

    return Environment(
        name=name,
        reset=reset,
        transition=transition,
        draw=draw,
        observation_space=space,
        action_space=Discrete(len(ACTIONS)),
        default_params=level,
        optimal_return=None if bool(level.random_objects) else optimal_return,
    )


def _tabular(shape: LevelShape) -> tuple[Space, Observe]:
    def observe(level: Level, state: GridState) -> Array:
        index = state_index(state, shape.cells)
        return (jnp.arange(shape.states) == index).astype(jnp.float32)

    return Box(0.0, 1.0, (shape.states,)), observe


def _index(shape: LevelShape) -> tuple[Space, Observe]:
    return Discrete(shape.states), lambda level, state: state_index(state, shape.cells)


def _image(shape: LevelShape) -> tuple[Space, Observe]:
    def observe(level: Level, state: GridState) -> Array:
        cells = jnp.arange(shape.cells)[:, None]
        objects = (cells == state.objects[None, :]) & state.present[None, :]
        closed = ~open_cells(level).reshape(-1, 1)
        channels = jnp.concatenate([cells == state.agent, closed, objects], axis=1)
        return channels.reshape(shape.height, shape.width, -1).astype(jnp.float32)

    return Box(0.0, 1.0, (shape.height, shape.width, 2 + shape.objects)), observe


_OBSERVATIONS: dict[str, Callable[[LevelShape], tuple[Space, Observe]]] = {
    "tabular": _tabular,
    "index": _index,
    "image": _image,
}
