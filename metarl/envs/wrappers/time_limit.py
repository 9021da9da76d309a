"""Time limits of episodes."""

from typing import NamedTuple

import jax.numpy as jnp

from metarl.core.errors import check_positive
from metarl.core.types import Array, Key
from metarl.envs.protocol import Draws, Environment, EnvParams, EnvState, Step


class TimeLimitState(NamedTuple):
    """The inner state, and the number of steps taken in this episode (`batch_shape`)."""

    inner: EnvState
    time: Array


def time_limit(env: Environment, max_steps: int) -> Environment:
    """Truncates an episode at step `max_steps`; apply it inside `autoreset`.

    A step that terminates is not truncated. The environment's own limits remain in effect.

    Raises:
      ConfigError: `max_steps` is not positive.
    """
    check_positive(max_steps=max_steps)

    def reset(key: Key, params: EnvParams) -> tuple[Array, EnvState]:
        obs, inner = env.reset(key, params)
        return obs, TimeLimitState(inner, jnp.zeros(env.batch_shape, jnp.int32))

    def transition(draws: Draws, state: EnvState, action: Array, params: EnvParams) -> Step:
        step = env.transition(draws, state.inner, action, params)
        time = state.time + 1
        truncated = (step.truncated | (time >= max_steps)) & ~step.terminated
        return step._replace(state=TimeLimitState(step.state, time), truncated=truncated)

    return env.replace(reset=reset, transition=transition)
