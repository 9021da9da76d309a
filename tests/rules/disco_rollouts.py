"""Rollouts whose agent is a table: every observation is the number of a row of outputs."""

import jax.numpy as jnp
import numpy as np

from metarl.rl.trajectory import Trajectory


def table(config, actions, rows, seed):
    """Random outputs of `rows` observations; these are the agent's parameters."""
    rng = np.random.default_rng(seed)
    shapes = {
        "logits": (actions,),
        "y": (config.prediction_size,),
        "z": (actions, config.prediction_size),
        "q": (actions, config.bins),
        "aux_pi": (actions, actions),
    }
    return {name: np.float32(rng.normal(size=(rows, *shape))) for name, shape in shapes.items()}


def look_up(params, obs):
    """The table as a network."""
    return {name: x[obs] for name, x in params.items()}


def rollout(steps, batch, actions, seed):
    """A rollout through `steps * batch` observations, and as many final ones, each seen once.

    Trajectory 0 is terminated once, trajectory 1 truncated once; so are others at random.
    """
    rng = np.random.default_rng(seed)
    obs = np.arange(steps * batch).reshape(steps, batch)
    final = obs + steps * batch
    terminated = rng.random((steps, batch)) < 0.1
    terminated[1, 0] = True
    truncated = (rng.random((steps, batch)) < 0.1) & ~terminated
    truncated[steps // 2, 1 % batch] = True
    truncated &= ~terminated
    done = terminated | truncated
    next_obs = np.where(done, final, np.concatenate([obs[1:], final[-1:]]))
    return Trajectory(
        obs=jnp.asarray(obs),
        next_obs=jnp.asarray(next_obs),
        action=jnp.asarray(rng.integers(actions, size=(steps, batch))),
        behaviour_params=(jnp.float32(rng.normal(size=(steps, batch, actions))),),
        reward=jnp.float32(3 * rng.normal(size=(steps, batch))),
        terminated=jnp.asarray(terminated),
        done=jnp.asarray(done),
        episode_return=jnp.zeros((steps, batch)),
    )


def described(params, target_params, trajectory):
    """The rollout for `tests.rules.disco_numpy`."""
    obs, final = np.asarray(trajectory.obs), np.asarray(trajectory.next_obs)
    truncated = np.asarray(trajectory.done & ~trajectory.terminated)
    following = np.concatenate([obs[1:], final[-1:]])
    successor = np.where(truncated, final, following)

    def outputs(params, rows):
        return {name: np.asarray(x, np.float64)[rows] for name, x in params.items()}

    return {
        "outputs": outputs(params, obs),
        "next_outputs": outputs(params, successor),
        "target": outputs(target_params, obs),
        "next_target": outputs(target_params, successor),
        "mu": np.asarray(trajectory.behaviour_params[0], np.float64),
        "action": np.asarray(trajectory.action),
        "reward": np.asarray(trajectory.reward, np.float64),
        "terminated": np.asarray(trajectory.terminated),
        "done": np.asarray(trajectory.done),
    }
