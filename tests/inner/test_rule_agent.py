"""The agent of an update rule: what it learns, when it stops, and how fast each part moves."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from metarl.core.contracts import Unroll
from metarl.core.errors import ConfigError
from metarl.inner.rule_agent import RuleAgent
from metarl.inner.rule_agent_config import RuleAgentConfig
from metarl.inner.scores import MeanReturnLoss
from metarl.networks.heads import HeadsConfig
from metarl.rules.a2c import A2CConfig, a2c
from metarl.rules.lpg import lpg
from metarl.rules.lpg_network import LPGConfig
from metarl.tasks.lifetimes import Lifetimes
from tests.learning import probes

SMALL = RuleAgentConfig(
    updates=3, num_envs=2, rollout_length=4, network=HeadsConfig(hidden=(4,)), learning_rate=0.1
)


def learn(probe, key, updates=200):
    config = RuleAgentConfig(
        updates=updates,
        num_envs=8,
        rollout_length=16,
        learning_rate=0.03,
        network=HeadsConfig(hidden=(16,), activation="tanh"),
    )
    rule = a2c(A2CConfig(gamma=probe.gamma, entropy_coefficient=0.0))
    agent = RuleAgent(probe.env, config, rule)
    unroll = Unroll(Lifetimes(probe.env, updates, updates), agent, updates, MeanReturnLoss(0.1))
    task = unroll.tasks.sample(key)
    state = jax.jit(lambda key: unroll.run(key, (), task)[2])(key)
    return agent.apply(state.params, jnp.asarray(probe.observations))


@pytest.mark.parametrize(
    "make",
    [
        probes.reward_is_observation,
        probes.two_steps,
        probes.state_action_reward,
        probes.truncation_flips,
    ],
    ids=lambda f: f.__name__,
)
@pytest.mark.sampled(2)
def test_values_and_actions(make, key):
    """The same probes, and the same tolerance, as of the other actor-critic."""
    probe = make()
    outputs = learn(probe, key)
    np.testing.assert_allclose(outputs["value"], probe.values, atol=0.1, rtol=0.1)
    if probe.optimal_action is not None:
        np.testing.assert_array_equal(outputs["logits"].argmax(-1), probe.optimal_action)


def test_after_its_lifetime_an_agent_acts_and_learns_no_more(key):
    env = probes.state_action_reward().env
    agent = RuleAgent(env, SMALL, a2c())
    task = Lifetimes(env, 2, 2).sample(key)
    state = agent.init(key, (), task)
    seen = []
    step = jax.jit(lambda key, state: agent.step(key, (), task, state)[0])
    params = []
    for number in range(4):
        state = step(jax.random.fold_in(key, number), state)
        params.append(np.asarray(state.params["value_head"]["kernel"]))
        seen.append(np.asarray(state.obs))
    assert state.update == 2
    assert np.any(params[0] != params[1])
    np.testing.assert_array_equal(params[1], params[2])
    np.testing.assert_array_equal(params[1], params[3])
    assert np.any(np.stack(seen) != seen[0])


def test_the_policy_may_have_a_rate_of_its_own(key):
    """One step of plain descent moves every parameter by rate times gradient."""
    env = probes.state_action_reward().env
    moved = {}
    for policy_rate in (0.1, 0.3):
        config = RuleAgentConfig(
            updates=3,
            num_envs=2,
            rollout_length=4,
            descent="sgd",
            learning_rate=0.2,
            policy_learning_rate=policy_rate,
            max_grad_norm=None,
            network=HeadsConfig(hidden=(4,)),
        )
        agent = RuleAgent(env, config, a2c())
        task = Lifetimes(env, 3, 3).sample(key)
        start = agent.init(key, (), task)
        end = agent.step(key, (), task, start)[0]
        moved[policy_rate] = jax.tree.map(lambda a, b: a - b, end.params, start.params)
    slow, fast = moved[0.1], moved[0.3]
    # A difference of two float32 numbers of order one.
    tolerance = 4 * np.finfo(np.float32).eps
    for part in ("logits_torso", "logits_head"):
        for a, b in zip(*map(jax.tree.leaves, (slow[part], fast[part])), strict=True):
            np.testing.assert_allclose(3 * a, b, rtol=0, atol=3 * tolerance)
    for a, b in zip(*map(jax.tree.leaves, (slow["value_head"], fast["value_head"])), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_discrete_observation_is_looked_up(key):
    """The same environment seen as a number and as a one-hot vector trains the same table."""
    from metarl.envs import Box, Discrete

    probe = probes.two_steps()

    def seen(observe, space):
        def reset(key, params):
            obs, state = probe.env.reset(key, params)
            return observe(obs), state

        def transition(draws, state, action, params):
            step = probe.env.transition(draws, state, action, params)
            return step._replace(obs=observe(step.obs))

        return probe.env.replace(reset=reset, transition=transition, observation_space=space)

    numbers = seen(lambda obs: obs[0].astype(jnp.int32), Discrete(3))
    vectors = seen(lambda obs: jax.nn.one_hot(obs[0].astype(jnp.int32), 3), Box(0.0, 1.0, (3,)))
    config = RuleAgentConfig(
        updates=2,
        num_envs=2,
        rollout_length=4,
        descent="sgd",
        network=HeadsConfig(hidden=(), bias=False),
    )
    tables, matrices = (RuleAgent(env, config, a2c()) for env in (numbers, vectors))
    task = Lifetimes(numbers, 2, 2).sample(key)
    first = tables.init(key, (), task)
    second = matrices.init(key, (), task)
    same = jax.tree.map(lambda x: x["embedding"], first.params, is_leaf=lambda x: "embedding" in x)
    second = second._replace(params={name: {"kernel": x} for name, x in same.items()})
    first, _ = tables.step(key, (), task, first)
    second, _ = matrices.step(key, (), task, second)
    for name in first.params:
        np.testing.assert_allclose(
            first.params[name]["embedding"],
            second.params[name]["kernel"],
            rtol=0,
            # Gradients are sums of eight terms of order one, times a small rate.
            atol=8 * np.finfo(np.float32).eps,
        )


@pytest.mark.parametrize("descent", ["sgd", "adam", "rmsprop"])
def test_a_meta_gradient_passes_through_an_update_of_zero_gradient(descent):
    """Adam's root and the norm of clipping have no derivative there; sparse rewards lead there."""
    config = RuleAgentConfig(descent=descent, max_grad_norm=0.5)
    optimizer = config.optimizer()
    params = {"logits_head": jnp.ones(3), "value_head": jnp.ones(2)}

    def moved(scale, used):
        gradient = jax.tree.map(lambda x: scale * used * x, params)
        updates, _ = optimizer.update(gradient, optimizer.init(params), params)
        return sum(jnp.sum(x) for x in jax.tree.leaves(updates))

    assert jnp.isfinite(jax.grad(moved)(1.0, 0.0))
    # Elsewhere the derivative is there: against a finite difference, below the clipping norm.
    if descent == "sgd":
        h = 1e-2
        difference = (moved(0.1 + h, 1.0) - moved(0.1 - h, 1.0)) / (2 * h)
        # Linear, so only rounding (1e-7 / 1e-2) is left.
        np.testing.assert_allclose(jax.grad(moved)(0.1, 1.0), difference, rtol=1e-3)


def test_clipping_is_by_the_global_norm_of_each_part():
    config = RuleAgentConfig(descent="sgd", learning_rate=1.0, max_grad_norm=0.5)
    optimizer = config.optimizer()
    gradient = {"logits_head": jnp.array([3.0, 4.0]), "value_head": jnp.array([0.3])}
    updates, _ = optimizer.update(gradient, optimizer.init(gradient), gradient)
    eps = 4 * np.finfo(np.float32).eps
    np.testing.assert_allclose(updates["logits_head"], [-0.3, -0.4], rtol=eps)
    np.testing.assert_allclose(updates["value_head"], [-0.3], rtol=eps)


def test_continuous_actions_are_refused():
    rule = lpg(LPGConfig(width=4))
    with pytest.raises(ConfigError, match="lpg needs discrete actions"):
        RuleAgent(probes.continuous_target().env, SMALL, rule)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"updates": 0}, "updates must be positive"),
        ({"descent": "adamm"}, "Did you mean 'adam'"),
        (
            {"policy_learning_rate": 0.1, "network": HeadsConfig(shared_torso=True)},
            "needs network.shared_torso=False",
        ),
    ],
)
def test_refused(bad, message):
    with pytest.raises(ConfigError, match=message):
        RuleAgentConfig(**bad)
