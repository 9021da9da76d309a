"""An agent that learns by DiscoRL: all of its parts together, and the published rule on Catch."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from metarl.core.keys import split_named
from metarl.envs import registry
from metarl.inner.replay import add_trajectories, init_replay, sample_trajectories
from metarl.inner.rule_agent import RuleAgent
from metarl.inner.rule_agent_config import RuleAgentConfig
from metarl.networks.action_model import ActionModelConfig, AgentNetwork
from metarl.rules import disco
from metarl.tasks.lifetimes import TimedTask
from tests.quick_compilation import quick_jit

ROLLOUT = 29


class Setting(NamedTuple):
    rows: int
    network: ActionModelConfig
    capacity: int
    batch: int
    jit: Callable


SMALL = Setting(3, ActionModelConfig(hidden=(8,), width=4, head_hidden=4), 8, 4, quick_jit)
PUBLISHED = Setting(8, ActionModelConfig(), 1024, 64, jax.jit)


def made(setting, rule):
    env = registry.make("gymnax/Catch-bsuite", rows=setting.rows, columns=setting.rows)
    config = RuleAgentConfig(updates=10_000, num_envs=2, rollout_length=ROLLOUT)
    agent = RuleAgent(
        env,
        config,
        rule,
        make_network=lambda outputs: AgentNetwork(setting.network, outputs, 2),
        tx=disco.disco_descent(1e-2),
    )
    return agent, TimedTask(env.default_params, jnp.int32(10_000))


def train(agent, task, setting, theta, key, iterations):
    """Each time two rollouts into the replay, one update on `batch` of it; returns and states."""

    def start(key):
        state = agent.init(key, theta, task)
        seen = jax.eval_shape(lambda: agent.collect(key, task, state, ROLLOUT)[1])
        return state, init_replay(seen, setting.capacity)

    def iterate(carry, key):
        state, replay = carry
        key_act, key_sample = split_named(key, "act", "sample")
        state, trajectory = agent.collect(key_act, task, state, ROLLOUT)
        replay = add_trajectories(replay, trajectory)
        batch = sample_trajectories(key_sample, replay, setting.batch)
        learnt, *_ = agent.learn(theta, task, state, batch)
        ready = replay.size >= setting.batch
        state = jax.tree.map(lambda a, b: jnp.where(ready, a, b), learnt, state)
        done = trajectory.done.astype(jnp.float32)
        return (state, replay), jnp.sum(trajectory.episode_return * done) / jnp.sum(done)

    first = setting.jit(start)(key)
    keys = jax.random.split(key, iterations)
    live_on = setting.jit(lambda c: jax.lax.scan(iterate, c, keys))
    (state, _), returns = live_on(first)
    return first[0], state, np.asarray(returns)


@pytest.mark.slow
def test_all_parts_together(key):
    config = disco.DiscoConfig(
        prediction_size=5, bins=7, max_value=2.0, width=6, lifetime_width=3, embedding=2
    )
    rule = disco.disco(config)
    agent, task = made(SMALL, rule)
    theta = jax.tree.map(
        lambda x: np.full(x.shape, 0.1, np.float32), jax.eval_shape(rule.init, key)
    )
    first, last, returns = train(agent, task, SMALL, theta, key, 4)
    assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(last.params))
    assert np.all(np.abs(returns) <= 1)
    # The first of four iterations has two trajectories only, fewer than a batch.
    assert int(last.update) == 3
    assert np.any(last.rule_state.lifetime.hidden != 0)
    assert 0 < float(last.rule_state.moments.unseen) == pytest.approx(0.99**3, rel=1e-6)
    # Adam's first steps have the size of the learning rate; target parameters follow slowly.
    for start, now, target in zip(
        *(jax.tree.leaves(x) for x in (first.params, last.params, last.rule_state.target_params)),
        strict=True,
    ):
        assert np.all(np.abs(now - start) <= 3 * 1e-2 * (1 + 1e-5))
        # Updates 2 and 3 moved the target towards params that were one and two steps away.
        assert np.all(np.abs(target - start) <= (0.1 * 0.01 + 0.1 * 0.02) * (1 + 1e-3) + 1e-7)
    moved = jax.tree.map(lambda a, b: np.any(a != b), first.params, last.params)
    assert all(jax.tree.leaves(moved["logits_head"]))


@pytest.mark.slow
def test_the_published_rule_learns_catch(key):
    """58k steps of Catch of 8 rows and columns, with the settings of the published example."""
    folder = os.environ.get("METARL_REFERENCE_DATA")
    path = Path(folder or "") / "disco_103.npz"
    if folder is None or not path.exists():
        pytest.skip("METARL_REFERENCE_DATA names no folder with disco_103.npz")
    rule = disco.load(path).rule
    agent, task = made(PUBLISHED, rule)
    theta = rule.init(key)
    *_, returns = train(agent, task, PUBLISHED, theta, key, 1000)
    # A random policy scores about -0.75.
    assert returns[:50].mean() < -0.5
    assert returns[-50:].mean() > 0.7
