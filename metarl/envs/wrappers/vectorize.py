"""Batching of an environment."""

import jax

from metarl.core.errors import check_positive
from metarl.core.types import Array, Key
from metarl.envs.protocol import Draws, Environment, EnvParams, EnvState, Step


def vectorize(env: Environment, num_envs: int) -> Environment:
    """Runs `num_envs` independent copies, all with the same `params`.

    Observations, states, rewards, flags, actions and info gain a leading axis `[B]`.

    Raises:
      ConfigError: `num_envs` is not positive.
    """
    check_positive(num_envs=num_envs)

    def reset(key: Key, params: EnvParams) -> tuple[Array, EnvState]:
        return jax.vmap(env.reset, in_axes=(0, None))(jax.random.split(key, num_envs), params)

    def draw(key: Key, params: EnvParams) -> Draws:
        return jax.vmap(env.draw, in_axes=(0, None))(jax.random.split(key, num_envs), params)

    def transition(draws: Draws, state: EnvState, action: Array, params: EnvParams) -> Step:
        return jax.vmap(env.transition, in_axes=(0, 0, 0, None))(draws, state, action, params)

    batch_shape = (num_envs, *env.batch_shape)
    return env.replace(reset=reset, draw=draw, transition=transition, batch_shape=batch_shape)
