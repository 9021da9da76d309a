"""Normalization of observations to zero mean and unit variance."""

from typing import NamedTuple

import jax.numpy as jnp

from metarl.core.errors import check_positive
from metarl.core.types import Array, Key
from metarl.envs.protocol import Draws, Environment, EnvParams, EnvState, Step
from metarl.envs.spaces import Box
from metarl.envs.wrappers.moments import (
    VARIANCE_EPS,
    Moments,
    align,
    initial_moments,
    merge_batch,
)


class NormalizeObservationState(NamedTuple):
    """The inner state, and the moments of every observation so far (`observation_space.shape`)."""

    inner: EnvState
    moments: Moments


def normalize_observation(
    env: Environment, initial: Moments | None = None, update: bool = True, clip: float = 10.0
) -> Environment:
    """Shifts and scales observations by running moments, which are part of the state.

    The moments are updated with an observation before it is normalized. The whole batch of a
    vectorized environment shares one set of moments. `info["final_obs"]`, if present, is normalized
    but does not update the moments. Apply it outside `autoreset`, so that moments are kept across
    episodes.

    Args:
      env: environment, batched or not.
      initial: initial moments (arrays, possibly traced); None = those of no samples.
      update: whether the moments are updated; False for evaluation.
      clip: bound of normalized observations, which are clipped to [-clip, clip].

    Raises:
      ConfigError: `clip` is not positive.
    """
    check_positive(clip=clip)
    space = env.observation_space

    def normalize(obs: Array, moments: Moments) -> Array:
        centered = obs - align(moments.mean, env.batch_shape)
        scale = jnp.sqrt(align(moments.var, env.batch_shape) + VARIANCE_EPS)
        return jnp.clip(centered / scale, -clip, clip)

    def count(moments: Moments, obs: Array) -> Moments:
        return merge_batch(moments, obs, env.batch_shape) if update else moments

    def reset(key: Key, params: EnvParams) -> tuple[Array, EnvState]:
        obs, inner = env.reset(key, params)
        moments = count(initial_moments(space.shape) if initial is None else initial, obs)
        return normalize(obs, moments), NormalizeObservationState(inner, moments)

    def transition(draws: Draws, state: EnvState, action: Array, params: EnvParams) -> Step:
        step = env.transition(draws, state.inner, action, params)
        moments = count(state.moments, step.obs)
        info = dict(step.info)
        if "final_obs" in info:
            info["final_obs"] = normalize(info["final_obs"], moments)
        return step._replace(
            obs=normalize(step.obs, moments),
            state=NormalizeObservationState(step.state, moments),
            info=info,
        )

    box = Box(-clip, clip, space.shape)
    return env.replace(reset=reset, transition=transition, observation_space=box)
