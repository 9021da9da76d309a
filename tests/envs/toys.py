"""A tiny environment whose every number a NumPy loop can repeat."""

import jax
import jax.numpy as jnp

from metarl.envs import Box, Environment, Step


def counter(last=3, terminates=True):
    """Counts up from a random multiple of 100; the observation is `[count, key bits]`.

    Reward is the action. After `last` steps it terminates, or truncates.
    """

    def observe(state):
        return jnp.stack([state["count"], 2.0 * state["count"] + state["noise"]])

    def reset(key, params):
        start = 100.0 * jax.random.randint(key, (), 0, 50).astype(jnp.float32)
        state = {"count": start, "noise": jnp.float32(0), "steps": jnp.int32(0)}
        return observe(state), state

    def draw(key, params):
        return params["noise"] * jax.random.normal(key)

    def transition(draws, state, action, params):
        state = {"count": state["count"] + 1.0, "noise": draws, "steps": state["steps"] + 1}
        ended, never = state["steps"] == last, jnp.bool_(False)
        flags = (ended, never) if terminates else (never, ended)
        reward = jnp.asarray(action[0], jnp.float32)
        return Step(observe(state), state, reward, *flags, {"own": state["steps"]})

    return Environment(
        name="toy/counter",
        reset=reset,
        draw=draw,
        transition=transition,
        observation_space=Box(-float("inf"), float("inf"), (2,)),
        action_space=Box(-3.0, 5.0, (1,)),
        default_params={"noise": jnp.float32(1.0)},
    )


def run(env, key, actions):
    """Takes `len(actions)` steps; returns the first observation and the stacked steps `[T, ...]`.

    The stacked steps hold the state after every step.
    """
    key_reset, key_steps = jax.random.split(key)
    params = env.default_params

    @jax.jit
    def program(actions):
        draws = jax.vmap(env.draw, (0, None))(jax.random.split(key_steps, len(actions)), params)
        obs, state = env.reset(key_reset, params)

        def act(state, inputs):
            step = env.transition(inputs[0], state, inputs[1], params)
            return step.state, step

        return obs, jax.lax.scan(act, state, (draws, actions))[1]

    return program(actions)
