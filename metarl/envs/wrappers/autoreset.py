"""Starting the next episode in the step that ended the last one."""

from metarl.core import trees
from metarl.core.keys import split_named
from metarl.core.types import Array, Key
from metarl.envs.protocol import Draws, Environment, EnvParams, EnvState, Step


def autoreset(env: Environment, predraw: bool = True) -> Environment:
    """Replaces the observation and state of an ended episode by those of a fresh one.

    Reward, flags and info stay those of the step that was taken. `info["final_obs"]` is, at every
    step, the observation that this step led to: bootstrap on it where `truncated`.

    Args:
      env: the environment, batched or not.
      predraw: makes the fresh episode in `draw`, outside a rollout's scan, where it is vectorised
        over time; costs the memory of one observation and state per step. Otherwise `draw` keeps
        only the key, and the fresh episode is made in `transition`. Both give the same episodes.
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
