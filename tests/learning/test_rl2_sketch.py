"""RL^2 on a two-armed bandit: theta is a recurrent policy, a lifetime is one trial.

Duan et al. 2016, arXiv:1611.02779. One arm pays with probability 0.9, the other with 0.1; which one
is the hidden task. The agent learns it in its hidden state only.
"""

from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import metarl
from metarl.core.contracts import Unroll
from metarl.estimators import FullES, FullESConfig
from metarl.tasks.environments import SampledTask

PULLS, HIDDEN = 10, 8


def bandit(key):
    """The index of the better arm."""
    return jax.random.bernoulli(key).astype(jnp.int32)


class Carry(NamedTuple):
    """Hidden state, and the observation: previous action and reward, jointly one-hot, `[4]`."""

    hidden: jax.Array
    observation: jax.Array


class Log(NamedTuple):
    reward: jax.Array


@dataclass(frozen=True)
class RecurrentAgent:
    """An Elman network; one inner step is one pull."""

    def init(self, key, theta, task):
        return Carry(jnp.zeros(HIDDEN), jnp.zeros(4))

    def step(self, key, theta, task, state):
        key_action, key_reward = jax.random.split(key)
        hidden = jnp.tanh(theta["recurrent"] @ state.hidden + theta["input"] @ state.observation)
        action = jax.random.categorical(key_action, theta["policy"] @ hidden)
        pays = jnp.where(action == task, 0.9, 0.1)
        reward = jax.random.bernoulli(key_reward, pays).astype(jnp.float32)
        observation = jax.nn.one_hot(2 * action + reward.astype(jnp.int32), 4)
        return Carry(hidden, observation), Log(reward)


@pytest.mark.slow
def test_a_recurrent_agent_learns_to_learn_which_arm_pays():
    unroll = Unroll(SampledTask(bandit), RecurrentAgent(), PULLS, lambda log: -jnp.mean(log.reward))
    rng = np.random.default_rng(0)
    sizes = {"recurrent": (HIDDEN, HIDDEN), "input": (HIDDEN, 4), "policy": (2, HIDDEN)}
    theta = {name: jnp.float32(0.3 * rng.normal(size=size)) for name, size in sizes.items()}
    config = FullESConfig(population=64, sigma=0.2, tasks=16, common_random_numbers="population")
    learned = metarl.meta_train(
        theta, FullES(config, (unroll,)), optax.adam(0.1), steps=120, log_every=120
    )

    @jax.jit
    def rewards(theta):
        keys = jax.random.split(jax.random.key(99), 2000)
        return jax.vmap(lambda k: unroll.run(k, theta, bandit(k))[1].reward)(keys).mean(axis=0)

    before, after = np.asarray(rewards(theta)), np.asarray(rewards(learned))
    # Whatever it does, the first pull pays 0.5 on average; standard error 0.011.
    assert abs(after[0] - 0.5) < 0.045
    assert after[-1] > before[-1] + 0.1
    # One informative pull, and the better arm from then on: 0.1 * 0.1 + 0.9 * 0.9 = 0.82 at once.
    assert after[-1] > 0.75
    assert after[-1] > after[0] + 0.2
