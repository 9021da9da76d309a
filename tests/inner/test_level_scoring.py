"""Scores of levels where the agent's policy and its critic are set by hand."""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from metarl.envs.gridworld import Item, grid_world, level_from_map
from metarl.inner import level_scoring
from metarl.inner.level_scoring import TRAJECTORY_SCORES, OptimalRegret, Regret, TrajectoryScore
from metarl.inner.meta_agent import MetaAgent, MetaObjectiveConfig
from metarl.inner.rule_agent import RuleAgent
from metarl.inner.rule_agent_config import RuleAgentConfig
from metarl.networks.heads import HeadsConfig
from metarl.rules.a2c import A2CConfig, a2c
from metarl.tasks.lifetimes import TimedTask
from tests.learning import probes

CONFIG = RuleAgentConfig(
    updates=60, num_envs=8, rollout_length=8, learning_rate=0.1, network=HeadsConfig(hidden=())
)
STEPS = 128
ERROR = 1 / np.sqrt(STEPS * CONFIG.num_envs)
"""Standard error of a mean of returns 1 and -1, one an environment step."""


def agent_of(env, config=CONFIG):
    objective = MetaObjectiveConfig(critic=HeadsConfig(hidden=()))
    return MetaAgent(RuleAgent(env, config, a2c(A2CConfig(entropy_coefficient=0.0))), objective)


def task_of(env, lifetime=1):
    return TimedTask(env.default_params, jnp.int32(lifetime))


def newborn(agent, task, logits=0.0, value=0.0):
    """The start of a lifetime, its policy a linear function of the observation, `V` constant."""
    state = agent.init(jax.random.key(7), (), task)
    params, critic = (jax.tree.map(jnp.zeros_like, x) for x in (state.agent.params, state.critic))
    kernel = params["logits_head"]["kernel"]
    params["logits_head"]["kernel"] = jnp.broadcast_to(
        jnp.asarray(logits, kernel.dtype), kernel.shape
    )
    critic["value_head"]["bias"] += value
    return state._replace(agent=state.agent._replace(params=params), critic=critic)


CERTAIN = 40.0 * np.array([[-1.0, 1.0]])
"""Logits that take action 1 in sign 1, and action 0 in sign -1."""


@pytest.fixture(scope="module")
def regret():
    """`(key, lifetime, logits) -> regret` of the agent with such a policy."""
    env = probes.state_action_reward().env
    agent = agent_of(env)
    score = jax.jit(Regret(agent, agent.agent, STEPS).__call__)

    def run(key, lifetime, logits):
        task = task_of(env, lifetime)
        return float(score(key, (), task, newborn(agent, task, logits)))

    return run


def test_regret_of_an_agent_that_never_learned(regret, key):
    """An even coin earns 0, a baseline agent after 60 updates (it learns this in 20) 1."""
    # Four standard errors of the agent's return; a baseline agent with 1% of errors loses 0.02.
    assert abs(regret(key, 60, 0.0) - 1.0) < 4 * ERROR + 0.02


def test_regret_of_an_agent_that_knows_everything(regret, key):
    """It earns exactly 1, so regret is what the baseline agent falls short: never positive."""
    assert -0.02 <= regret(key, 60, CERTAIN) <= 0.0


def test_regret_of_an_agent_that_knows_it_all_wrong(regret, key):
    assert 2.0 - 0.02 <= regret(key, 60, -CERTAIN) <= 2.0


def test_the_antagonist_lives_as_long_as_the_task_says(regret, key):
    """Without training, an update or two do not make a difference of one half."""
    lengths = (1, 10, 60)
    found = [regret(key, lifetime, 0.0) for lifetime in lengths]
    assert found[0] < 0.5 < found[2]
    assert found == sorted(found)


def test_optimal_regret(key):
    """The optimum depends on the task; a uniform policy earns 0, an optimal one exactly 1."""
    env = probes.state_action_reward().env
    agent = agent_of(env)
    score = jax.jit(OptimalRegret(agent, lambda params: params["best"], STEPS).__call__)
    for optimum in (1.0, 3.0):
        task = TimedTask({"best": jnp.float32(optimum)}, jnp.int32(1))
        assert score(key, (), task, newborn(agent, task, CERTAIN)) == optimum - 1.0
        missed = score(key, (), task, newborn(agent, task))
        assert 0 < abs(missed - optimum) < 4 * ERROR  # not exactly: then nobody had acted


def test_optimal_regret_on_a_level_with_an_oracle(key):
    """One step, five actions, one of which earns 2: the optimum is 2, chance 2/5."""
    level = level_from_map("Ag", {"g": Item(2.0, p_terminate=1.0)}, horizon=1)
    env = grid_world(level)
    agent, task = agent_of(env), task_of(env)
    score = jax.jit(OptimalRegret(agent, env.optimal_return, STEPS).__call__)
    # Returns are 2 with probability 1/5: their standard deviation is 2 sqrt(0.2 * 0.8) = 0.8.
    missed = score(key, (), task, newborn(agent, task))
    assert abs(missed - 1.6) < 4 * 0.8 * ERROR
    right = np.zeros((1, 5))
    right[0, 3] = 40.0
    assert score(key, (), task, newborn(agent, task, right)) == 0.0


@pytest.mark.parametrize(
    ("make", "steps", "expected"),
    [
        (probes.constant_reward, 3, 1.0),
        (probes.two_steps, 3, 1.0),
        # Five steps with reward 1: whole episodes only, or what there was where none ended.
        (probes.truncation, 12, 5.0),
        (probes.truncation, 3, 3.0),
    ],
)
def test_a_constant_return_is_measured_exactly(make, steps, expected, key):
    """In new episodes: those of the agent's lifetime, here three steps old, do not count."""
    env = make().env
    agent, task = agent_of(env), task_of(env)
    state = newborn(agent, task).agent

    @jax.jit
    def measure(key, state):
        state, _ = agent.agent.collect(key, task, state, 3)
        return level_scoring.evaluate_return(key, agent.agent, task, state, steps)

    assert measure(key, state) == expected


@cache
def scores_on(make):
    """`(key, V, best return) -> every score of a trajectory` of a coin."""
    env = make().env
    agent, task = agent_of(env), task_of(env)

    @jax.jit
    def score(key, state):
        return {
            name: TrajectoryScore(agent, function, STEPS)(key, (), task, state)
            for name, function in TRAJECTORY_SCORES.items()
        }

    def run(key, value=0.0, best=-jnp.inf):
        state = newborn(agent, task, value=value)
        return score(key, state._replace(best_return=jnp.float32(best)))

    return run


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        # One step with reward 1, so an advantage is 1 - V; the best return was 4.
        ("l1_value_loss", 0.0, 1.0),
        ("l1_value_loss", 3.0, 2.0),
        ("positive_value_loss", 0.25, 0.75),
        ("positive_value_loss", 3.0, 0.0),
        ("max_monte_carlo", 1.5, 2.5),
        # Every episode succeeds: nothing is left to learn.
        ("learnability", 0.0, 0.0),
    ],
)
def test_scores_of_a_trajectory(name, value, expected, key):
    assert scores_on(probes.constant_reward)(key, value, best=4.0)[name] == expected


def test_learnability_of_a_fair_coin(key):
    """Success is a fair sign: `p (1 - p) = 1/4 - (p - 1/2)^2`."""
    # The standard error of p is half of ERROR; four of them, squared.
    found = scores_on(probes.reward_is_observation)(key)["learnability"]
    assert 0.25 - (2 * ERROR) ** 2 <= found <= 0.25


def test_both_signs_of_error_count_in_one_and_the_positive_in_the_other(key):
    """Rewards 1 and -1, V = 1/2: advantages 1/2 and -3/2, equally likely."""
    # Returns differ by 2 where these scores differ by 1 and by 1/2.
    found = scores_on(probes.reward_is_observation)(key, 0.5)
    assert 0 < abs(found["l1_value_loss"] - 1.0) < 4 * ERROR / 2
    assert 0 < abs(found["positive_value_loss"] - 0.25) < 4 * ERROR / 4
