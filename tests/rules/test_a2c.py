"""Advantage actor-critic: its targets and loss in float64 NumPy, and the credit of single steps."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from metarl.core.errors import ConfigError
from metarl.rl.advantages import Advantages
from metarl.rl.trajectory import Trajectory
from metarl.rules.a2c import A2CConfig, a2c
from metarl.rules.update_rule import LifetimeProgress

T, B, A, D = 6, 2, 3, 4
EPS = np.finfo(np.float32).eps
CLOCK = LifetimeProgress(jnp.float32(1), jnp.float32(4))


@pytest.fixture(scope="module")
def experience():
    """A rollout with both kinds of end, and a linear agent."""
    rng = np.random.default_rng(0)
    done = rng.random((T, B)) < 0.4
    done[2, 0], done[3, 1] = True, True
    terminated = done & (rng.random((T, B)) < 0.5)
    terminated[2, 0], terminated[3, 1] = True, False
    trajectory = Trajectory(
        obs=jnp.asarray(rng.normal(size=(T, B, D)), jnp.float32),
        next_obs=jnp.asarray(rng.normal(size=(T, B, D)), jnp.float32),
        action=jnp.asarray(rng.integers(0, A, (T, B))),
        behaviour_params=(),
        reward=jnp.asarray(rng.normal(size=(T, B)), jnp.float32),
        terminated=jnp.asarray(terminated),
        done=jnp.asarray(done),
        episode_return=jnp.zeros((T, B)),
    )
    params = {
        "logits": jnp.asarray(rng.normal(size=(D, A)), jnp.float32),
        "value": jnp.asarray(rng.normal(size=D), jnp.float32),
    }
    return trajectory, params


def apply(params, obs):
    return {name: obs @ weights for name, weights in params.items()}


def targets(config, trajectory, params):
    return a2c(config).targets((), (), params, apply, trajectory, CLOCK)[0]


def in_numpy(config, trajectory, params):
    """Advantages as sums over the rest of the episode, their targets, and the loss."""
    x = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), trajectory)
    weights = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), params)
    v, v_next = x.obs @ weights["value"], x.next_obs @ weights["value"]
    delta = x.reward + config.gamma * np.where(x.terminated, 0.0, v_next) - v
    advantage = np.zeros((T, B))
    for b in range(B):
        for t in range(T):
            for k in range(t, T):
                advantage[t, b] += (config.gamma * config.gae_lambda) ** (k - t) * delta[k, b]
                if x.done[k, b]:
                    break
    logits = x.obs @ weights["logits"]
    log_prob = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    loss = 0.0
    for t in range(T):
        for b in range(B):
            loss -= log_prob[t, b, int(x.action[t, b])] * advantage[t, b]
            loss += config.value_coefficient * advantage[t, b] ** 2 / 2  # target - v = A
            loss += config.entropy_coefficient * np.exp(log_prob[t, b]) @ log_prob[t, b]
    return advantage, advantage + v, loss / (T * B)


@pytest.mark.parametrize(
    "config",
    [A2CConfig(), A2CConfig(0.9, 0.6, value_coefficient=0.3, entropy_coefficient=0.7)],
    ids=["default", "other"],
)
def test_targets_and_loss_against_numpy(experience, config):
    trajectory, params = experience
    found = targets(config, trajectory, params)
    loss = a2c(config).loss(apply(params, trajectory.obs), trajectory, found)
    advantage, target, expected = in_numpy(config, trajectory, params)
    # Sums of at most T errors of size up to 10, each of D + 3 rounded terms.
    slack = 10 * T * (D + 3) * EPS
    np.testing.assert_allclose(found.advantages, advantage, rtol=0, atol=slack)
    np.testing.assert_allclose(found.targets, target, rtol=0, atol=slack)
    # A mean, in which the error of an advantage counts up to ten times, for its square.
    np.testing.assert_allclose(loss, expected, rtol=0, atol=10 * slack)


def slopes(config, trajectory, params):
    """Of the loss with respect to the logits of every step, `[T, B, A]`."""
    aims = targets(config, trajectory, params)
    outputs = apply(params, trajectory.obs)

    def loss(logits):
        return a2c(config).loss({**outputs, "logits": logits}, trajectory, aims)

    return jax.grad(loss)(outputs["logits"])


def test_credit_belongs_to_its_own_step(experience):
    """A reward that changes one advantage changes the gradient of that step and of no other.

    By `(pi - e_a) dr / (T B)`, since every advantage is its step's own error where lambda is 0. Had
    log-probabilities met advantages over a stray axis, every step would move.
    """
    config = A2CConfig(gae_lambda=0.0)
    trajectory, params = experience
    t, b, more = 3, 1, 2.0
    changed = trajectory._replace(reward=trajectory.reward.at[t, b].add(more))
    difference = np.array(slopes(config, changed, params) - slopes(config, trajectory, params))
    logits = np.asarray(trajectory.obs[t, b], np.float64) @ np.asarray(params["logits"], np.float64)
    policy = np.exp(logits) / np.exp(logits).sum()
    expected = (policy - np.eye(A)[int(trajectory.action[t, b])]) * more / (T * B)
    # Differences of gradients of order one.
    np.testing.assert_allclose(difference[t, b], expected, rtol=0, atol=8 * EPS)
    difference[t, b] = 0.0
    np.testing.assert_array_equal(difference, 0.0)


def test_with_traces_credit_reaches_back_to_the_start_of_the_episode(experience):
    trajectory, params = experience
    done = jnp.zeros((T, B), bool).at[1, 0].set(True)
    trajectory = trajectory._replace(done=done, terminated=done)
    changed = trajectory._replace(reward=trajectory.reward.at[4, 0].add(2.0))
    config = A2CConfig()
    moved = slopes(config, changed, params) != slopes(config, trajectory, params)
    expected = np.zeros((T, B), bool)
    expected[2:5, 0] = True
    np.testing.assert_array_equal(np.any(moved, axis=-1), expected)


def test_targets_are_constants(experience):
    trajectory, params = experience

    def total(params):
        return sum(jnp.sum(x**2) for x in targets(A2CConfig(), trajectory, params))

    assert total(params) > 0
    jax.tree.map(lambda x: np.testing.assert_array_equal(x, 0.0), jax.grad(total)(params))


def test_the_value_moves_towards_its_target(experience):
    """The gradient with respect to a value is `c_v (v - target) / (T B)`."""
    trajectory, params = experience
    config = A2CConfig(value_coefficient=0.3)
    outputs = apply(params, trajectory.obs)
    aims = Advantages(jnp.zeros((T, B)), jnp.full((T, B), 5.0))
    gradient = jax.grad(
        lambda value: a2c(config).loss({**outputs, "value": value}, trajectory, aims)
    )(outputs["value"])
    expected = 0.3 * (np.asarray(outputs["value"], np.float64) - 5.0) / (T * B)
    # A few roundings of numbers below one.
    np.testing.assert_allclose(gradient, expected, rtol=8 * EPS)


def test_an_agent_gets_a_policy_and_a_value():
    rule = a2c()
    assert rule.name == "a2c"
    assert rule.outputs(A) == {"logits": (A,), "value": ()}
    assert rule.init(jax.random.key(0)) == rule.init_state((), {}) == ()


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"gamma": 1.1}, "gamma must lie in"),
        ({"gae_lambda": -0.1}, "gae_lambda must lie in"),
        ({"value_coefficient": -1.0}, "value_coefficient must lie in"),
        ({"entropy_coefficient": float("nan")}, "entropy_coefficient must lie in"),
    ],
)
def test_refused(bad, message):
    with pytest.raises(ConfigError, match=message):
        A2CConfig(**bad)
