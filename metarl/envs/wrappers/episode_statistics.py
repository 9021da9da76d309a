"""Return and length of episodes."""

from typing import NamedTuple

import jax.numpy as jnp

from metarl.core.types import Array, Key
from metarl.envs.protocol import Draws, Environment, EnvParams, EnvState, Step


class EpisodeStatisticsState(NamedTuple):
    """The inner state, and the totals of the running episode (`batch_shape`)."""

    inner: EnvState
    episode_return: Array
    episode_length: Array


def episode_statistics(env: Environment) -> Environment:
    """Adds the undiscounted return and the length of the current episode to `info`.

    `info["episode_return"]` (float32) and `info["episode_length"]` (int32) include this step: where
    an episode ended they are its totals. Apply it inside `normalize_reward`, so that it sums the
    original reward.
    """

    def reset(key: Key, params: EnvParams) -> tuple[Array, EnvState]:
        obs, inner = env.reset(key, params)
        zero_return = jnp.zeros(env.batch_shape, jnp.float32)
        zero_length = jnp.zeros(env.batch_shape, jnp.int32)
        return obs, EpisodeStatisticsState(inner, zero_return, zero_length)

    def transition(draws: Draws, state: EnvState, action: Array, params: EnvParams) -> Step:
        step = env.transition(draws, state.inner, action, params)
        episode_return = state.episode_return + step.reward
        episode_length = state.episode_length + 1
        totals = {"episode_return": episode_return, "episode_length": episode_length}
        # Resetting here, not at the next reset, makes the order with autoreset irrelevant.
        following = EpisodeStatisticsState(
            step.state,
            jnp.where(step.done, 0.0, episode_return),
            jnp.where(step.done, 0, episode_length),
        )
        return step._replace(state=following, info={**step.info, **totals})

    return env.replace(reset=reset, transition=transition)
