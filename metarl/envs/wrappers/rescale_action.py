"""Rescaling of continuous actions to [-1, 1]."""

import math

import jax.numpy as jnp

from metarl.core.errors import ConfigError
from metarl.core.types import Array
from metarl.envs.protocol import Draws, Environment, EnvParams, EnvState, Step
from metarl.envs.spaces import Box


def rescale_action(env: Environment) -> Environment:
    """Maps actions, clipped to [-1, 1], linearly to the environment's Box.

    Raises:
      ConfigError: the action space is discrete or unbounded.
    """
    space = env.action_space
    if not isinstance(space, Box):
        raise ConfigError(f"rescale_action needs a Box of actions, {env.name} has {space}.")
    if not (math.isfinite(space.low) and math.isfinite(space.high)):
        raise ConfigError(f"rescale_action needs bounded actions, {env.name} has {space}.")
    center, half_width = (space.high + space.low) / 2, (space.high - space.low) / 2

    def transition(draws: Draws, state: EnvState, action: Array, params: EnvParams) -> Step:
        own_action = center + half_width * jnp.clip(action, -1.0, 1.0)
        return env.transition(draws, state, own_action, params)

    return env.replace(transition=transition, action_space=Box(-1.0, 1.0, space.shape, space.dtype))
