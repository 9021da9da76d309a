"""The probes are what they claim: values solve Bellman's equation, actions are the best ones.

A learner that misses them is then wrong, not the probe.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from metarl.envs import Discrete
from tests.learning import probes

KEYS = 16


def step_from(probe, observation, action):
    """Steps from a state that shows `observation`, over several keys."""
    env = probe.env
    key = jax.random.key(0)
    _, state = env.reset(key, {})
    # The observation is a sign, or a step number that is not negative: set what it shows.
    shown = float(observation[0])
    state = state._replace(sign=jnp.float32(shown), time=jnp.int32(max(shown, 0)))
    return jax.jit(jax.vmap(lambda key: env.step(key, state, action, {})))(
        jax.random.split(key, KEYS)
    )


def action_grid(env):
    if isinstance(env.action_space, Discrete):
        return list(range(env.action_space.n))
    return list(np.linspace(-1.0, 1.0, 9, dtype=np.float32)[:, None])


def ends(step):
    return zip(np.asarray(step.obs), np.asarray(step.terminated), strict=True)


@pytest.mark.parametrize("make", probes.PROBES, ids=lambda make: make.__name__)
def test_values_solve_the_bellman_equation_and_actions_are_the_best(make):
    probe = make()
    values = {tuple(o): v for o, v in zip(probe.observations, probe.values, strict=True)}
    for index, observation in enumerate(probe.observations):
        returns = []
        for action in action_grid(probe.env):
            step = step_from(probe, observation, jnp.asarray(action))
            following = [0.0 if end else values[tuple(obs)] for obs, end in ends(step)]
            reward = np.asarray(step.reward, np.float64)
            returns.append(np.mean(reward + probe.gamma * np.array(following)))
        # Rewards come as float32, of size one.
        np.testing.assert_allclose(max(returns), probe.values[index], rtol=1e-6, atol=1e-7)
        if probe.optimal_action is None:
            np.testing.assert_array_equal(returns, returns[0])
        else:
            best = action_grid(probe.env)[int(np.argmax(returns))]
            np.testing.assert_array_equal(best, probe.optimal_action[index])
            assert np.sum(np.isclose(returns, max(returns))) == 1


@pytest.mark.parametrize("make", probes.PROBES, ids=lambda make: make.__name__)
def test_every_listed_observation_is_met_and_no_other(make):
    probe = make()
    env = probe.env

    def episode(key):
        obs, state = env.reset(key, {})
        met, flags = [obs], []
        for t in range(5):
            step = env.step(jax.random.fold_in(key, t), state, env.action_space.sample(key), {})
            met.append(step.obs)
            state = step.state
            flags.append(jnp.stack([step.terminated, step.truncated]))
        return jnp.stack(met), jnp.stack(flags)

    met, flags = jax.jit(jax.vmap(episode))(jax.random.split(jax.random.key(1), KEYS))
    acted_on = set()
    for observations, ends in zip(np.asarray(met), np.asarray(flags), strict=True):
        length = 1 + int(np.argmax(ends.any(-1)))
        assert ends[length - 1].sum() == 1  # ends, and in one way only
        acted_on |= {tuple(obs) for obs in observations[:length]}
    assert acted_on == {tuple(obs) for obs in probe.observations}


def test_truncated_probes_never_terminate():
    for steps in (1, 4):
        env = probes.truncation(steps).env
        _, state = env.reset(jax.random.key(0), {})
        for t in range(1, steps + 1):
            step = env.step(jax.random.key(t), state, jnp.int32(0), {})
            state = step.state
            assert not step.terminated
            assert bool(step.truncated) == (t == steps)
            assert step.reward == 1.0
