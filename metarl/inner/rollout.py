"""Rollouts: a policy acts for `T` steps in `B` environments."""

from collections.abc import Callable

import jax

from metarl.core.packing import packed_scan
from metarl.core.types import Array, Key, PyTree
from metarl.envs.protocol import Environment, EnvParams, EnvState
from metarl.rl.trajectory import Trajectory


def rollout(
    key: Key,
    env: Environment,
    params: EnvParams,
    policy: Callable[[Array, Array], tuple[Array, PyTree]],
    noise: Array,
    env_state: EnvState,
    obs: Array,
) -> tuple[EnvState, Array, Trajectory]:
    """Collects a trajectory of `T = len(noise)` steps.

    The environment must be batched and autoreset, with episode statistics. Its random numbers are
    sampled for all steps before the loop.

    Args:
      key: PRNG key of the environment.
      env: batched environment.
      params: environment parameters.
      policy: `(obs [B, ...], noise [B, ...]) -> (action [B, ...], distribution parameters)`.
      noise: sampling noise of the policy, `[T, B, ...]`.
      env_state: initial environment state.
      obs: initial observation `[B, ...]`.

    Returns:
      The final environment state and observation, and the trajectory.
    """
    length = noise.shape[0]
    draws = jax.vmap(env.draw, (0, None))(jax.random.split(key, length), params)

    def act(carry: tuple[EnvState, Array], inputs: PyTree) -> tuple[PyTree, Trajectory]:
        env_state, obs = carry
        draw, noise = inputs
        action, distribution = policy(obs, noise)
        with jax.named_scope("environment"):
            step = env.transition(draw, env_state, action, params)
        transition = Trajectory(
            obs=obs,
            next_obs=step.info["final_obs"],
            action=action,
            behaviour_params=distribution,
            reward=step.reward,
            terminated=step.terminated,
            done=step.done,
            episode_return=step.info["episode_return"],
        )
        return (step.state, step.obs), transition

    (env_state, obs), trajectory = packed_scan(act, (env_state, obs), (draws, noise))
    return env_state, obs, trajectory
