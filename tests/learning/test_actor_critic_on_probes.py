"""The actor-critic finds the analytic value and action of every probe environment."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from metarl import rules
from metarl.core.contracts import Unroll
from metarl.inner.ppo import PPO
from metarl.inner.ppo_config import PPOConfig
from metarl.inner.scores import MeanReturnLoss
from metarl.networks.actor_critic import NetworkConfig
from metarl.tasks.environments import FixedTask
from tests.learning import probes

RULES = [rules.ppo(), rules.dpo(), rules.mdpo()]


def train(probe, rule, key, updates=120, **settings):
    config = PPOConfig(
        **{
            "total_steps": updates * 128,
            "num_envs": 8,
            "rollout_length": 16,
            "learning_rate": 1e-2,
            "gamma": probe.gamma,
            "gae_lambda": 0.95,
            "entropy_coefficient": 0.0,
            "network": NetworkConfig(hidden=(16,)),
            **settings,
        }
    )
    learner = PPO(probe.env, config, rule)
    task = probe.env.default_params
    unroll = Unroll(FixedTask(task), learner, config.updates, MeanReturnLoss(0.1))
    _, logs, state = jax.jit(lambda k: unroll.run(k, (), task))(key)
    head, values = learner.network.apply(state.params, jnp.asarray(probe.observations))
    return learner.distribution(head).mode(), values, logs


@pytest.mark.parametrize("make", probes.PROBES, ids=lambda f: f.__name__)
@pytest.mark.sampled(5)
def test_values_and_actions(make, key):
    probe = make()
    action, values, logs = train(probe, rules.ppo(), key)
    # A tenth of the rewards, which are of size one: what a wrong target or sign moves by far more.
    np.testing.assert_allclose(values, probe.values, atol=0.1, rtol=0.1)
    if probe.optimal_action is None:
        return
    if learnt_discrete(probe):
        np.testing.assert_array_equal(action, probe.optimal_action)
    else:
        # A tenth, as for values.
        np.testing.assert_allclose(action, probe.optimal_action, atol=0.1)
    assert np.isfinite(np.asarray(logs.value_loss)).all()


def learnt_discrete(probe):
    return np.issubdtype(np.asarray(probe.optimal_action).dtype, np.integer)


@pytest.mark.parametrize("rule", RULES[1:], ids=lambda r: r.name)
@pytest.mark.sampled(2)
def test_other_rules_learn_too(rule, key):
    probe = probes.state_action_reward()
    action, _, _ = train(probe, rule, key)
    np.testing.assert_array_equal(action, probe.optimal_action)


def test_treating_truncation_as_termination_would_fail(key):
    """The probe can tell: with the flag wrong, its value is far from the analytic one."""
    probe = probes.truncation()

    def wrong(draws, state, action, params):
        step = probe.env.transition(draws, state, action, params)
        return step._replace(terminated=step.done, truncated=jnp.zeros_like(step.truncated))

    broken = probe._replace(env=probe.env.replace(transition=wrong))
    _, values, _ = train(broken, rules.ppo(), key)
    assert np.abs(np.asarray(values) - probe.values).max() > 1.0
