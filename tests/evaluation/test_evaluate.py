"""Training agents side by side: equal randomness, exact curves, the random agent."""

from dataclasses import replace

import jax
import numpy as np
import pytest

from metarl import envs
from metarl.core.errors import ConfigError
from metarl.core.mesh import Layout
from metarl.envs import Box
from metarl.evaluation.candidates import DriftEntry, drift_candidates, rule_candidate
from metarl.evaluation.evaluate import _curve, evaluate, random_return, training_program
from metarl.inner.ppo_config import PPOConfig
from metarl.inner.rule_agent_config import RuleAgentConfig
from metarl.inner.scores import PPOLog
from metarl.networks.actor_critic import NetworkConfig
from metarl.networks.heads import HeadsConfig
from metarl.rules import registry
from metarl.rules.a2c import a2c
from tests.learning import probes

CONFIG = PPOConfig(
    total_steps=384,
    num_envs=2,
    rollout_length=16,
    epochs=2,
    minibatches=2,
    learning_rate=0.05,
    network=NetworkConfig(hidden=(4,)),
)
SEEDS = 3  # on two devices: one of them has an agent to spare


def _candidates(env, **rules):
    drifts = {name: DriftEntry(registry.by_name(rule)) for name, rule in rules.items()}
    return drift_candidates(env, drifts, CONFIG)


@pytest.fixture(scope="module")
def measured():
    env = envs.make("gymnax/Catch-bsuite")
    rules = _candidates(env, one="ppo", other="none", same="ppo")
    return evaluate(env, rules, SEEDS, jax.random.key(3), held_out=True, layout=Layout(2))


def test_what_is_measured(measured):
    assert measured.env == "gymnax/Catch-bsuite"
    assert measured.rules == ("one", "other", "same")
    assert measured.held_out
    assert measured.seconds > 0
    assert measured.settings["network"]["hidden"] == (4,)
    assert measured.diverged == {"one": 0, "other": 0, "same": 0}
    # Twelve updates of 32 steps, fewer than the points a curve may have.
    np.testing.assert_array_equal(measured.steps, 32 * np.arange(1, 13))
    for rule in measured.rules:
        assert measured.curves[rule].shape == (SEEDS, 12)
        # The score is the mean return over the last tenth, here one update: the last point.
        # Both are quotients of the same float32 sums.
        np.testing.assert_allclose(measured.scores[rule], measured.curves[rule][:, -1], rtol=1e-6)


def test_contenders_share_their_random_numbers(measured):
    np.testing.assert_array_equal(measured.scores["one"], measured.scores["same"])
    np.testing.assert_array_equal(measured.curves["one"], measured.curves["same"])
    # Before the first update no rule has acted; afterwards the rules differ, and so do seeds.
    curves = measured.curves
    np.testing.assert_array_equal(curves["one"][:, 0], curves["other"][:, 0])
    assert np.any(curves["one"] != curves["other"])
    assert np.unique(curves["one"], axis=0).shape[0] == SEEDS


@pytest.mark.slow
def test_devices_change_no_random_number(measured):
    """Over the first four updates, where rounding is too small to flip an action.

    Returns of Catch are 1 and -1 and a point is a mean of about four episodes: one action or
    random number that differs shows as half a point or more.
    """
    env = envs.make("gymnax/Catch-bsuite")
    alone = evaluate(
        env, _candidates(env, one="ppo"), SEEDS, jax.random.key(3), layout=Layout(1, chunk=2)
    )
    found, expected = alone.curves["one"][:, :4], measured.curves["one"][:, :4]
    # Means of equal returns, of which only the last bit may differ.
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    assert alone.random_score == measured.random_score


def test_a_constant_reward_is_scored_exactly():
    """Two-step episodes that return 1, on a default layout."""
    probe = probes.two_steps()
    found = evaluate(probe.env, _candidates(probe.env, ppo="ppo"), 2, jax.random.key(0))
    np.testing.assert_array_equal(found.scores["ppo"], np.ones(2))
    np.testing.assert_array_equal(found.curves["ppo"], np.ones((2, 12)))
    assert found.random_score == 1.0
    assert not found.held_out


@pytest.mark.slow
def test_agents_of_several_kinds_stand_side_by_side():
    """Updates of different size: the curves meet at the ends of the larger ones."""
    env = envs.make("gymnax/Catch-bsuite")
    small = RuleAgentConfig(updates=24, num_envs=2, rollout_length=8, network=HeadsConfig((4,)))
    agents = _candidates(env, ppo="ppo")
    agents |= {"a2c": rule_candidate(env, a2c(), (), small)}
    found = evaluate(env, agents, 2, jax.random.key(3))
    np.testing.assert_array_equal(found.steps, 32 * np.arange(1, 13))
    assert {name: curve.shape for name, curve in found.curves.items()} == {
        "ppo": (2, 12),
        "a2c": (2, 12),
    }
    assert found.settings["a2c"]["rollout_length"] == 8
    assert found.settings["ppo"]["rollout_length"] == 16
    # Returns of Catch are 1 and -1.
    for scores in found.scores.values():
        assert np.all(np.abs(scores) <= 1)


def test_every_seed_has_its_own_task_and_every_contender_the_same():
    """The reward is the task, so a score tells it."""
    probe = probes.constant_reward()

    def transition(draws, state, action, params):
        return probe.env.transition(draws, state, action, {})._replace(reward=params)

    env = probe.env.replace(
        transition=transition,
        default_params=jax.numpy.float32(0),
        sample_params=lambda key: jax.random.normal(key),
    )
    # Half as long a life: the curves end there.
    small = RuleAgentConfig(updates=12, num_envs=2, rollout_length=8, network=HeadsConfig((4,)))
    agents = _candidates(env, ppo="ppo") | {"a2c": rule_candidate(env, a2c(), (), small)}
    found = evaluate(env, agents, 3, jax.random.key(3))
    scores = found.scores
    np.testing.assert_array_equal(found.steps, 32 * np.arange(1, 7))
    np.testing.assert_allclose(scores["ppo"], scores["a2c"], rtol=1e-6)  # a mean of equal numbers
    assert np.unique(scores["ppo"]).size == 3


@pytest.mark.slow
def test_agents_that_diverge_have_no_score():
    probe = probes.constant_reward()

    def transition(*arguments):
        return probe.env.transition(*arguments)._replace(reward=np.float32(np.nan))

    env = probe.env.replace(transition=transition)
    found = evaluate(env, _candidates(env, ppo="ppo"), 2, jax.random.key(0))
    assert np.all(np.isnan(found.scores["ppo"]))
    assert found.diverged == {"ppo": 2}
    assert found.random_score is None
    assert found.worst_score() is None


def test_refused(key):
    env = probes.constant_reward().env
    with pytest.raises(ConfigError, match="no rule was given"):
        evaluate(env, {}, 1, key)
    with pytest.raises(ConfigError, match="seeds must be positive"):
        evaluate(env, _candidates(env, ppo="ppo"), 0, key)


@pytest.mark.parametrize("updates", [1, 7, 50, 51, 123, 1000])
def test_a_curve_is_the_mean_over_episodes_of_an_interval(updates):
    random = np.random.default_rng(updates)
    episodes = random.integers(0, 3, (2, updates)).astype(np.float32)
    sums = (episodes * random.normal(10, 3, (2, updates))).astype(np.float32)
    zero = np.zeros_like(sums)
    points = min(50, updates)
    log = PPOLog(sums, episodes, *([zero] * (len(PPOLog._fields) - 2)))
    found = _curve(log, np.round(np.linspace(0, updates, points + 1)[1:]).astype(int))
    assert found.shape == (2, points)
    owner = np.zeros(updates, int)
    for update in range(updates):
        # The first interval whose end, rounded to even, lies beyond the update.
        ends = [round(updates * (i + 1) / points) for i in range(points)]
        owner[update] = next(i for i, end in enumerate(ends) if update < end)
    for seed in range(2):
        for point in range(points):
            mine = owner == point
            count = episodes[seed, mine].sum(dtype=np.float64)
            total = sums[seed, mine].sum(dtype=np.float64)
            expected = total / count if count else np.nan
            # Float64 sums of few numbers.
            np.testing.assert_allclose(found[seed, point], expected, rtol=1e-12)
    # Weighted by their episodes, the points give back the mean of all episodes.
    weights = np.stack([episodes[:, owner == i].sum(1, dtype=np.float64) for i in range(points)], 1)
    np.testing.assert_allclose(
        np.nansum(found * weights, axis=1), sums.sum(1, dtype=np.float64), rtol=1e-12
    )


@pytest.mark.parametrize(
    ("env", "expected", "tolerance"),
    [
        (probes.truncation(steps=5).env, 5.0, 0.0),
        # No episode ends: what the 1024 steps have brought so far.
        (probes.truncation(steps=10**6).env, 1024.0, 0.0),
        # 65536 fair coins of 1 and -1: four standard errors of 1/256.
        (probes.action_reward().env, 0.0, 4 / 256),
        # -(u - 0.5)^2 with u uniform in [-1, 1]: -(1/3 + 1/4), standard deviation 0.63 over 256.
        (probes.continuous_target().env, -7 / 12, 4 * 0.63 / 256),
        # -(z - 0.5)^2 with z normal: -(1 + 1/4), variance 2 + 4/4 = 3, over 256.
        (
            probes.continuous_target().env.replace(action_space=Box(-np.inf, np.inf, (1,))),
            -1.25,
            4 * np.sqrt(3) / 256,
        ),
    ],
    ids=["truncated", "endless", "coin", "bounded", "unbounded"],
)
def test_the_random_agent(key, env, expected, tolerance):
    np.testing.assert_allclose(random_return(key, env), expected, rtol=0, atol=tolerance)


def test_lifetimes_of_several_lengths_share_one_program(measured):
    """Curves are those of a program for the short lifetime alone, over the first four updates.

    Twelve updates in a program for 24: PPO's learning rate is annealed over twelve.
    """
    env = envs.make("gymnax/Catch-bsuite")
    drift = {"one": DriftEntry(registry.by_name("ppo"))}
    steps = 2 * CONFIG.total_steps
    short = drift_candidates(env, drift, CONFIG, steps)["one"]
    long = drift_candidates(env, drift, replace(CONFIG, total_steps=steps), steps)["one"]
    shared = training_program.cache_info().hits
    found = evaluate(env, {"one": short}, SEEDS, jax.random.key(3), layout=Layout(2))
    evaluate(env, {"one": long}, SEEDS, jax.random.key(3), layout=Layout(2))
    assert training_program.cache_info().hits == shared + 1
    assert found.curves["one"].shape == (SEEDS, 12)
    # Returns of Catch are 1 and -1: sums of them are exact.
    np.testing.assert_array_equal(found.curves["one"][:, :4], measured.curves["one"][:, :4])
