"""Automatic reset in the step that ends an episode."""

from metarl.core import trees
from metarl.core.keys import split_named
from metarl.core.types import Array, Key
from metarl.envs.protocol import Draws, Environment, EnvParams, EnvState, Step


def autoreset(env: Environment, predraw: bool = True) -> Environment:
    """Replaces the observation and state of an ended episode by those of a new episode.

    Reward, flags and info remain those of the step. `info["final_obs"]` is the observation after
    every step, before any reset: bootstrap from it where `truncated`.

    Args:
      env: environment, batched or not.
      predraw: whether `draw` resets the environment, outside a rollout's scan, where it is
        vectorized over time; this costs the memory of one observation and state per step.
        Otherwise `draw` returns only the key, and `transition` resets. Both give the same episodes.
    """

    def draw(key: Key, params: EnvParams) -> Draws:
        key_step, key_reset = split_named(key, "step", "reset")
        return env.draw(key_step, params), env.reset(key_reset, params) if predraw else key_reset

    def transition(draws: Draws, state: EnvState, action: Array, params: EnvParams) -> Step:
        step_draws, reset_draws = draws
        fresh_obs, fresh_state = reset_draws if predraw else env.reset(reset_draws, params)
        step = env.transition(step_draws, state, action, params)
        return step._replace(
            obs=trees.where(step.done, fresh_obs, step.obs),
            state=trees.where(step.done, fresh_state, step.state),
            info={**step.info, "final_obs": step.obs},
        )

    return env.replace(draw=draw, transition=transition)
