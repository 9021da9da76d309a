"""Scores of levels against loops in float64, and closed forms."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from metarl.rl import level_scores
from metarl.rl.advantages import generalized_advantage_estimation

GAMMA, LAMBDA = 0.97, 0.9
STEPS, COPIES = 9, 3


@pytest.fixture(scope="module")
def trajectory():
    rng = np.random.default_rng(0)
    r, v_tm1, v_t = rng.normal(size=(3, STEPS, COPIES))
    done = rng.random((STEPS, COPIES)) < 0.3
    terminated = done & (rng.random(done.shape) < 0.5)
    success = rng.random(done.shape) < 0.4
    return r, v_tm1, v_t, terminated, done, success


def sums_of_errors(r, v_tm1, v_t, terminated, done):
    """For every step, the decayed sum of the errors from there to the end of the episode."""
    out = np.zeros(r.shape)
    for b in range(r.shape[1]):
        for t in range(r.shape[0]):
            for k in range(t, r.shape[0]):
                bootstrap = 0.0 if terminated[k, b] else v_t[k, b]
                error = r[k, b] + GAMMA * bootstrap - v_tm1[k, b]
                out[t, b] += (GAMMA * LAMBDA) ** (k - t) * error
                if done[k, b]:
                    break
    return out


def test_value_losses_are_means_of_sums_of_errors(trajectory):
    *path, _ = trajectory
    got = generalized_advantage_estimation(
        *(jnp.float32(x) for x in path), GAMMA, LAMBDA
    ).advantages
    sums = sums_of_errors(*path)
    size, positive = 0.0, 0.0
    for x in sums.ravel():
        size += abs(x) / sums.size
        positive += max(x, 0.0) / sums.size
    assert 0 < positive < size
    # float32 sums of nine terms of order one
    np.testing.assert_allclose(level_scores.l1_value_loss(got), size, rtol=2e-6)
    np.testing.assert_allclose(level_scores.positive_value_loss(got), positive, rtol=2e-6)


def test_a_perfect_critic_has_no_value_loss():
    """Reward 1 a step and the discounted sum as value: every error is zero."""
    values = (1 - GAMMA ** np.arange(STEPS, -1, -1)) / (1 - GAMMA)
    end = np.arange(STEPS) == STEPS - 1
    path = (np.ones(STEPS), values[:-1], values[1:], end, end)
    path = [jnp.float32(x)[:, None] for x in path]
    advantages = generalized_advantage_estimation(*path, GAMMA, LAMBDA).advantages
    rounding = 10 * STEPS * np.finfo(np.float32).eps
    assert level_scores.l1_value_loss(advantages) < rounding
    over = level_scores.positive_value_loss(advantages - 1.0)
    assert over == 0.0  # a critic that promises too much
    np.testing.assert_allclose(level_scores.l1_value_loss(advantages - 1.0), 1.0, rtol=1e-5)


def test_max_monte_carlo_is_the_mean_gap_to_the_best_return(trajectory):
    r, v_tm1, _, _, done, _ = trajectory
    returns, best, gap = np.zeros(r.shape), -np.inf, 0.0
    for b in range(COPIES):
        so_far = 0.0
        for t in range(STEPS):
            so_far += r[t, b]
            returns[t, b] = so_far
            if done[t, b]:
                best, so_far = max(best, so_far), 0.0
    for v in v_tm1.ravel():
        gap += (best - v) / v_tm1.size
    assert returns.max() > best  # an episode under way does not count
    got = level_scores.max_monte_carlo(jnp.float32(v_tm1), jnp.float32(best))
    np.testing.assert_allclose(got, gap, rtol=1e-5)


def test_learnability_counts_episodes(trajectory):
    *_, done, success = trajectory
    ended = [bool(s) for s, d in zip(success.ravel(), done.ravel(), strict=True) if d]
    rate = ended.count(True) / len(ended)
    assert 0 < rate < 1
    got = level_scores.learnability(jnp.array(success), jnp.array(done))
    np.testing.assert_allclose(got, rate * (1 - rate), rtol=1e-6)


@pytest.mark.parametrize(("wins", "expected"), [(0, 0.0), (1, 0.1875), (2, 0.25), (4, 0.0)])
def test_learnability_peaks_at_one_half(wins, expected):
    success = jnp.arange(4)[:, None] < wins
    assert level_scores.learnability(success, jnp.ones((4, 1), bool)) == expected


def test_learnability_is_unknown_without_an_episode():
    nothing = jnp.zeros((4, 2), bool)
    assert jnp.isnan(level_scores.learnability(~nothing, nothing))


def test_regrets_are_differences_of_means():
    baseline, agent = jnp.array([4.0, 2.0]), jnp.array([1.0, 2.0, 0.0])
    assert level_scores.algorithmic_regret(baseline, agent) == 2.0
    assert level_scores.algorithmic_regret(agent, baseline) == -2.0
    assert level_scores.optimal_regret(jnp.array(5.0), agent) == 4.0
    levels = jax.vmap(level_scores.optimal_regret)(jnp.array([5.0, 1.0]), jnp.stack([agent] * 2))
    np.testing.assert_array_equal(levels, [4.0, 0.0])
