"""Pictures of grid worlds: levels of a distribution, and an episode of a trained agent."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure

from metarl.core.keys import split_named
from metarl.core.types import Array, Key
from metarl.envs.gridworld.level import Level
from metarl.envs.gridworld.render import render, render_episode
from metarl.envs.names import base_name
from metarl.envs.protocol import Environment
from metarl.evaluation.style import new_figure, styled

Policy = Callable[[Key, Array], Array]
"""`(key, obs) -> action` of one environment."""


@styled
def levels_figure(env: Environment, key: Key, count: int = 8) -> Figure:
    """Draws levels of an environment that is a distribution over them.

    Args:
      env: a grid world.
      key: of the draw.
      count: how many.
    """
    figure = new_figure(1.2 * count, 1.8, f"Levels of {base_name(env.name)}")
    for ax, one in zip(figure.subplots(1, count), jax.random.split(key, count), strict=True):
        ax.imshow(render(jax.device_get(env.sample(one))))
        ax.set_axis_off()
    return figure


@styled
def episode_figure(env: Environment, level: Level, policy: Policy, key: Key) -> Figure:
    """Draws an episode as a film strip, frames in reading order.

    Args:
      env: a grid world.
      level: which one.
      policy: who acts.
      key: of the episode.
    """
    states, total = episode(env, level, policy, key, int(level.horizon))
    strip = render_episode(jax.device_get(level), states)
    steps = len(np.asarray(states.agent)) - 1
    title = f"An episode of {steps} steps, return {total:.3g}"
    figure = new_figure(9, 0.6 + 9 * strip.shape[0] / strip.shape[1], title)
    ax = figure.subplots()
    ax.imshow(strip)
    ax.set_axis_off()
    return figure


def episode(
    env: Environment, params: Any, policy: Policy, key: Key, steps: int
) -> tuple[Any, float]:
    """Plays one episode.

    Returns:
      The states `[T + 1, ...]` up to its end (NumPy), at most `steps` after the first, and the
      return.
    """

    @jax.jit
    def play(key: Key) -> tuple[Any, Array, Array]:
        key_reset, key_steps = split_named(key, "reset", "steps")
        obs, first = env.reset(key_reset, params)

        def act(carry: Any, key: Key) -> tuple[Any, Any]:
            obs, state = carry
            key_policy, key_env = split_named(key, "policy", "env")
            step = env.step(key_env, state, policy(key_policy, obs), params)
            return (step.obs, step.state), (step.state, step.reward, step.done)

        _, (states, rewards, done) = jax.lax.scan(
            act, (obs, first), jax.random.split(key_steps, steps)
        )
        states = jax.tree.map(lambda a, b: jnp.concatenate([a[None], b]), first, states)
        return states, rewards, done

    states, rewards, done = jax.device_get(play(key))
    last = int(np.argmax(done)) + 1 if np.any(done) else steps
    return jax.tree.map(lambda x: x[: last + 1], states), float(np.sum(rewards[:last]))
