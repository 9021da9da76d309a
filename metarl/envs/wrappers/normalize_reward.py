"""Scaling of rewards to unit variance of the discounted return."""

from typing import NamedTuple

import jax.numpy as jnp

from metarl.core.errors import check_positive, check_range
from metarl.core.types import Array, Key
from metarl.envs.protocol import Draws, Environment, EnvParams, EnvState, Step
from metarl.envs.wrappers.moments import (
    VARIANCE_EPS,
    Moments,
    initial_moments,
    merge_batch,
)


class NormalizeRewardState(NamedTuple):
    """The inner state, the running discounted return (`batch_shape`), and its scalar moments."""

    inner: EnvState
    discounted_return: Array
    moments: Moments


def normalize_reward(
    env: Environment,
    gamma: float,
    initial: Moments | None = None,
    update: bool = True,
    clip: float = 10.0,
) -> Environment:
    """Divides rewards by the standard deviation of the running discounted return.

    With `R_t = gamma * R_{t-1} + r_t`, reset at an episode's end, the moments are updated with
    every `R_t`, then `r_t` becomes `r_t / std(R)`. The mean is not subtracted, since this would
    change the task. The whole batch shares one set of moments. Apply it outside `autoreset`.

    Args:
      env: environment, batched or not.
      gamma: discount of the running return.
      initial: initial moments (arrays, possibly traced); None = those of no samples.
      update: whether the moments are updated; False for evaluation.
      clip: bound of normalized rewards, which are clipped to [-clip, clip].

    Raises:
      ConfigError: `gamma` is not in [0, 1], or `clip` is not positive.
    """
    check_range(0.0, 1.0, gamma=gamma)
    check_positive(clip=clip)

    def reset(key: Key, params: EnvParams) -> tuple[Array, EnvState]:
        obs, inner = env.reset(key, params)
        moments = initial_moments(()) if initial is None else initial
        return obs, NormalizeRewardState(inner, jnp.zeros(env.batch_shape, jnp.float32), moments)

    def transition(draws: Draws, state: EnvState, action: Array, params: EnvParams) -> Step:
        step = env.transition(draws, state.inner, action, params)
        total = gamma * state.discounted_return + step.reward
        moments = merge_batch(state.moments, total, env.batch_shape) if update else state.moments
        reward = jnp.clip(step.reward / jnp.sqrt(moments.var + VARIANCE_EPS), -clip, clip)
        following = NormalizeRewardState(step.state, jnp.where(step.done, 0.0, total), moments)
        return step._replace(reward=reward, state=following)

    return env.replace(reset=reset, transition=transition)
