"""LPG: its network and loss in float64 NumPy, its signs, and the credit of single steps."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from metarl.core.errors import ConfigError
from metarl.rl.trajectory import Trajectory
from metarl.rules.lpg import LPGTargets, lifetime_features, lpg
from metarl.rules.lpg_network import LPGConfig, LPGInputs, init_theta
from metarl.rules.update_rule import LifetimeProgress

T, B, A, M, W = 6, 2, 3, 4, 5


def config(core="gru", **more):
    return LPGConfig(core=core, width=W, categories=M, embedding=3, **more)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def dense(p, x):
    return x @ p["kernel"] + p.get("bias", 0.0)


def gru_step(p, h, x):
    r = sigmoid(dense(p["ir"], x) + dense(p["hr"], h))
    z = sigmoid(dense(p["iz"], x) + dense(p["hz"], h))
    n = np.tanh(dense(p["in"], x) + r * dense(p["hn"], h))
    return (1 - z) * n + z * h


def lstm_step(p, carry, x):
    c, h = carry
    i, f, g, o = (dense(p[f"i{n}"], x) + dense(p[f"h{n}"], h) for n in "ifgo")
    c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
    return c, sigmoid(o) * np.tanh(c)


def in_numpy(core, theta, inputs):
    """Both outputs, step by step from the last to the first."""
    p = jax.tree.map(lambda x: np.asarray(x, np.float64), theta)
    x = jax.tree.map(lambda x: np.asarray(x, np.float64), inputs)

    def embed(y):
        return dense(p["embed_out"], np.maximum(dense(p["embed_hidden"], y), 0))[..., 0]

    h, c = np.zeros((B, W)), np.zeros((B, W))
    pi_hat, y_hat = np.zeros((T, B)), np.zeros((T, B, M))
    for t in reversed(range(T)):
        for b in range(B):
            if x.done[t, b]:
                h[b], c[b] = 0, 0
            following = 0.0 if x.terminated[t, b] else embed(x.next_prediction[t, b])
            row = [x.reward[t, b], x.done[t, b], x.probability[t, b], embed(x.prediction[t, b])]
            row = np.array([*row, following, *x.progress])
            if core == "gru":
                h[b] = gru_step(p["core"], h[b], row)
            else:
                c[b], h[b] = lstm_step(p["core"], (c[b], h[b]), row)
            features = np.maximum(h[b], 0)
            pi_hat[t, b] = dense(p["policy_head"], features)[0]
            y_hat[t, b] = dense(p["prediction_head"], features)
    return pi_hat, y_hat


def random_inputs(seed=0, progress=0):
    rng = np.random.default_rng(seed)
    done = rng.random((T, B)) < 0.4
    return LPGInputs(
        reward=jnp.asarray(rng.normal(size=(T, B)), jnp.float32),
        done=jnp.asarray(done, jnp.float32),
        terminated=jnp.asarray(done & (rng.random((T, B)) < 0.5), jnp.float32),
        probability=jnp.asarray(rng.random((T, B)), jnp.float32),
        prediction=jnp.asarray(softmax(rng.normal(size=(T, B, M))), jnp.float32),
        next_prediction=jnp.asarray(softmax(rng.normal(size=(T, B, M))), jnp.float32),
        progress=jnp.asarray(rng.random(progress), jnp.float32),
    )


@pytest.mark.parametrize("core", ["gru", "lstm"])
@pytest.mark.parametrize("clock", ["none", "both"])
def test_the_network_against_numpy(key, core, clock):
    cfg = config(core, clock=clock)
    # Biases start at zero: moved, so that each of them counts.
    theta = jax.tree.map(lambda x: x + 0.1, init_theta(cfg, key))
    inputs = random_inputs(progress=cfg.num_lifetime_features)
    found = cfg.network.apply({"params": theta}, inputs)
    for x, y in zip(found, in_numpy(core, theta, inputs), strict=True):
        # T steps of sums over fewer than 16 terms of order one.
        np.testing.assert_allclose(x, y, rtol=0, atol=16 * T * np.finfo(np.float32).eps)


def test_nothing_flows_back_over_an_episodes_end(key):
    cfg = config()
    theta = init_theta(cfg, key)
    inputs = random_inputs()._replace(done=jnp.zeros((T, B)).at[2].set(1.0))
    later = inputs._replace(reward=inputs.reward.at[3:].add(5.0))
    before, after = (cfg.network.apply({"params": theta}, x)[0] for x in (inputs, later))
    np.testing.assert_array_equal(before[:3], after[:3])
    assert np.all(before[3] != after[3])


@pytest.mark.parametrize(
    ("cfg", "parameters"),
    [(LPGConfig(core="gru"), 203_946), (LPGConfig(core="gru", clock="both"), 205_482)],
)
def test_published_sizes(cfg, parameters):
    theta = jax.eval_shape(functools.partial(init_theta, cfg), jax.random.key(0))
    assert sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(theta)) == parameters


def rollout(seed=0):
    rng = np.random.default_rng(seed)
    done = jnp.asarray(rng.random((T, B)) < 0.3)
    return Trajectory(
        obs=jnp.asarray(rng.normal(size=(T, B, 2)), jnp.float32),
        next_obs=jnp.asarray(rng.normal(size=(T, B, 2)), jnp.float32),
        action=jnp.asarray(rng.integers(0, A, (T, B))),
        behaviour_params=(),
        reward=jnp.asarray(rng.normal(size=(T, B)), jnp.float32),
        terminated=done,
        done=done,
        episode_return=jnp.zeros((T, B)),
    )


def test_the_loss_against_numpy():
    rng = np.random.default_rng(1)
    logits, y, y_hat = (rng.normal(size=(T, B, n)) for n in (A, M, M))
    pi_hat = rng.normal(size=(T, B))
    trajectory = rollout()
    rule = lpg(config(prediction_weight=0.5))
    outputs = {"logits": jnp.asarray(logits), "prediction": jnp.asarray(y)}
    found = rule.loss(outputs, trajectory, LPGTargets(jnp.asarray(pi_hat), jnp.asarray(y_hat)))
    log_prob = np.log(softmax(logits))
    expected = 0.0
    for t in range(T):
        for b in range(B):
            p, q = softmax(y[t, b]), softmax(y_hat[t, b])
            chosen = log_prob[t, b, trajectory.action[t, b]]
            expected += (-chosen * pi_hat[t, b] + 0.5 * np.sum(p * np.log(p / q))) / (T * B)
    # A mean of T B terms of order one.
    np.testing.assert_allclose(found, expected, rtol=T * B * np.finfo(np.float32).eps)


def test_credit_belongs_to_its_own_step():
    """A target for one step moves the policy of that step and of no other.

    Where log-probabilities `[T, B]` met targets `[T, B, 1]`, every step would get the mean.
    """
    rule = lpg(config())
    trajectory = rollout()
    pi_hat = jnp.zeros((T, B)).at[2, 1].set(1.0)

    def loss(logits):
        y = jnp.zeros((T, B, M))
        return rule.loss({"logits": logits, "prediction": y}, trajectory, LPGTargets(pi_hat, y))

    step = -jax.grad(loss)(jnp.zeros((T, B, A)))
    moved = np.any(np.asarray(step) != 0, axis=-1)
    assert moved.sum() == 1
    assert moved[2, 1]
    # A positive target makes the action likelier.
    assert step[2, 1, trajectory.action[2, 1]] > 0


def test_the_agents_own_gradient_does_not_cross_the_rule(key):
    rule = lpg(config())
    theta = rule.init(key)
    trajectory = rollout()
    progress = LifetimeProgress(jnp.float32(1), jnp.float32(4))
    params = {"logits": jnp.ones((2, A)), "prediction": jnp.ones((2, M))}

    def apply(params, obs):
        return {name: obs @ matrix for name, matrix in params.items()}

    def targets(params):
        return rule.targets(theta, (), params, apply, trajectory, progress)[0].policy.sum()

    gradient = jax.grad(targets)(params)
    assert all(np.all(x == 0) for x in jax.tree.leaves(gradient))
    open_rule = lpg(config(input_gradient=True))

    def open_targets(params):
        return open_rule.targets(theta, (), params, apply, trajectory, progress)[0].policy.sum()

    assert any(np.any(x != 0) for x in jax.tree.leaves(jax.grad(open_targets)(params)))


@pytest.mark.parametrize(
    ("kind", "expected"),
    [("none", []), ("relative", [0.3]), ("log", [np.log(50)]), ("both", [0.3, np.log(50)])],
)
def test_the_clock(kind, expected):
    found = lifetime_features(kind, LifetimeProgress(jnp.float32(15), jnp.float32(50)))
    # One rounded operation each.
    np.testing.assert_allclose(found, expected, rtol=2 * np.finfo(np.float32).eps)


@pytest.mark.parametrize(
    "bad", [{"core": "rnn"}, {"clock": "absolute"}, {"width": 0}, {"categories": -1}]
)
def test_refused(bad):
    with pytest.raises(ConfigError):
        LPGConfig(**bad)
