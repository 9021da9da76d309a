"""The actor-critic's pieces: its objective, its scores, its settings, what a lifetime leaves."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from metarl import envs, rules
from metarl.core.contracts import Unroll
from metarl.core.errors import ConfigError
from metarl.inner.ppo import PPO, Batch
from metarl.inner.ppo_config import PPOConfig
from metarl.inner.scores import MeanReturnLoss, PPOLog, mean_return
from metarl.networks.actor_critic import NetworkConfig, initial_params
from metarl.rules.protocol import Drift
from metarl.tasks.environments import FixedTask, SampledTask
from tests.learning import probes

SMALL = PPOConfig(
    total_steps=256,
    num_envs=4,
    rollout_length=16,
    epochs=2,
    minibatches=2,
    network=NetworkConfig(hidden=(8,)),
)


def numpy_objective(ratio, advantage, value, target, entropy, config, drift):
    advantage = (advantage - advantage.mean()) / (advantage.std() + 1e-8)
    surrogate = (ratio * advantage - drift(ratio, advantage)).mean()
    value_loss = (0.5 * (value - target) ** 2).mean()
    return (
        -surrogate
        + config.value_coefficient * value_loss
        - config.entropy_coefficient * entropy.mean()
    )


def test_the_loss_is_the_formula(key):
    """Against a float64 spelling of PPO's clipped objective, on random networks and data."""
    env = envs.make("gymnax/CartPole-v1")
    learner = PPO(env, replace(SMALL, minibatches=1), rules.ppo())
    params = initial_params(learner.network, key, jnp.zeros(4))
    rng = np.random.default_rng(0)
    obs = jnp.float32(rng.normal(size=(32, 4)))
    head, value = learner.network.apply(params, obs)
    log_softmax = np.asarray(jax.nn.log_softmax(head[0]), np.float64)
    action = rng.integers(0, 2, 32)
    new = log_softmax[np.arange(32), action]
    old = new + rng.normal(size=32) * 0.4
    advantage, target = rng.normal(size=(2, 32)) * 3
    batch = Batch(
        obs, jnp.asarray(action), *map(jnp.float32, (old, np.zeros(32), advantage, target))
    )
    minibatch = learner._minibatch(batch, jnp.arange(32))
    loss, _ = learner._loss(params, (), minibatch, jnp.float32(0))
    ratio = np.exp(new - old)

    def clip_drift(r, a):
        return r * a - np.minimum(r * a, np.clip(r, 0.8, 1.2) * a)

    entropy = -(np.exp(log_softmax) * log_softmax).sum(-1)
    expected = numpy_objective(
        ratio, advantage, np.asarray(value, np.float64), target, entropy, SMALL, clip_drift
    )
    # Float32 means over a batch, of terms of size one that cancel in part.
    np.testing.assert_allclose(loss, expected, rtol=2e-5)


def test_at_ratio_one_every_rule_has_the_policy_gradient(key):
    """A drift is flat at ratio 1, so the first gradient step does not depend on the rule."""
    env = envs.make("gymnax/CartPole-v1")
    params = initial_params(PPO(env, SMALL, rules.ppo()).network, key, jnp.zeros(4))
    obs = jax.random.normal(key, (16, 4))
    action = jnp.zeros(16, jnp.int32)
    gradients = []
    for rule in (rules.none(), rules.ppo(), rules.dpo(), rules.mdpo()):
        learner = PPO(env, SMALL, rule)
        head, value = learner.network.apply(params, obs)
        old = learner.distribution(head).log_prob(action)
        batch = Batch(obs, action, old, value, jnp.linspace(-1, 1, 16), value)
        gradients.append(
            jax.grad(lambda p, le=learner, b=batch: le._loss(p, (), b, jnp.float32(0))[0])(params)
        )
    # The same gradients, of size one at most, by other operations: a few roundings.
    for other in gradients[1:]:
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), gradients[0], other)


@pytest.fixture(scope="module")
def lifetime():
    """One short lifetime on a probe whose episodes last five steps and pay one a step."""
    probe = probes.truncation(steps=5)
    learner = PPO(probe.env, SMALL, rules.ppo())
    task = probe.env.default_params
    unroll = Unroll(FixedTask(task), learner, SMALL.updates, MeanReturnLoss(0.5))
    loss, logs, state = jax.jit(lambda k: unroll.run(k, (), task))(jax.random.key(3))
    return learner, loss, logs, state


def test_episodes_are_counted_exactly(lifetime):
    _, loss, logs, _ = lifetime
    # 16 steps an update: steps 5, 10, 15 | 20, 25, 30 | 35, 40, 45 | 50, 55, 60 end episodes
    np.testing.assert_array_equal(logs.episodes, [12, 12, 12, 12])
    np.testing.assert_array_equal(logs.return_sum, [60, 60, 60, 60])
    np.testing.assert_array_equal(logs.running_return, [1, 2, 3, 4])
    assert float(loss) == -5.0


def test_a_lifetime_keeps_structure_and_dtypes(lifetime):
    learner, _, _, state = lifetime
    start = jax.eval_shape(
        lambda k: learner.init(k, (), learner.env.default_params), jax.random.key(0)
    )
    assert jax.tree.structure(start) == jax.tree.structure(state)
    for a, b in zip(jax.tree.leaves(start), jax.tree.leaves(state), strict=True):
        assert (a.shape, a.dtype) == (b.shape, b.dtype)
    assert int(state.update) == SMALL.updates


def log_of(return_sum, episodes, running=0.0, value_loss=0.0):
    k = len(episodes)
    full = [jnp.full((k,), x, jnp.float32) for x in (running, value_loss, 0, 0, 0)]
    return PPOLog(jnp.float32(return_sum), jnp.float32(episodes), *full)


def test_mean_return_weighs_episodes_and_falls_back():
    np.testing.assert_allclose(mean_return(log_of([9, 2, 10], [9, 1, 4]), 2 / 3), 12 / 5)
    np.testing.assert_allclose(mean_return(log_of([9, 0], [9, 0], running=7.0), 0.5), 7.0)
    assert np.isnan(mean_return(log_of([9, 9], [9, 9], value_loss=jnp.nan), 0.5))


def test_a_nan_reward_scores_nan():
    """The documented behaviour: the lifetime counts as diverged, whatever its episodes paid."""
    probe = probes.constant_reward()

    def poisoned(draws, state, action, params):
        step = probe.env.transition(draws, state, action, params)
        return step._replace(reward=jnp.float32(jnp.nan))

    env = probe.env.replace(transition=poisoned)
    unroll = Unroll(FixedTask(()), PPO(env, SMALL, rules.ppo()), SMALL.updates, MeanReturnLoss(0.5))
    loss, _, _ = jax.jit(lambda k: unroll.run(k, (), env.default_params))(jax.random.key(0))
    assert np.isnan(loss)


def test_rules_see_the_progress_of_the_lifetime():
    """The drift gets n/N: a rule that returns it shows it in the log."""
    probe = probes.constant_reward()
    rule = Drift("clock", lambda key: (), lambda theta, r, a, n: jnp.broadcast_to(n, r.shape))
    learner = PPO(probe.env, SMALL, rule)
    unroll = Unroll(FixedTask(()), learner, SMALL.updates, MeanReturnLoss(1.0))
    _, logs, _ = jax.jit(lambda k: unroll.run(k, (), probe.env.default_params))(jax.random.key(0))
    # Means over a batch of equal numbers.
    np.testing.assert_allclose(logs.drift, [0.0, 0.25, 0.5, 0.75], atol=1e-6)


def test_tasks_can_be_vmapped():
    """The task is data: CartPole with several gravities in one program."""
    env = envs.make("gymnax/CartPole-v1")

    def sample(key):
        return env.default_params.replace(gravity=jax.random.uniform(key, (), minval=5, maxval=15))

    tasks = SampledTask(sample)
    learner = PPO(env, SMALL, rules.ppo())
    unroll = Unroll(tasks, learner, 2, MeanReturnLoss(1.0))
    keys = jax.random.split(jax.random.key(0), 3)
    losses = jax.jit(jax.vmap(lambda k: unroll.run(k, (), tasks.sample(k))[0]))(keys)
    assert np.isfinite(np.asarray(losses)).all()


@pytest.mark.parametrize("settings", [{"schedule": "linear"}, {"schedule": "constant"}])
def test_learning_rate_schedule(settings):
    config = replace(SMALL, learning_rate=0.1, max_grad_norm=None, **settings)
    steps = config.updates * config.epochs * config.minibatches
    optimizer = PPO(probes.constant_reward().env, config, rules.ppo()).optimizer(steps)
    params = jnp.zeros(1)
    state = optimizer.init(params)
    sizes = []
    for _ in range(steps):
        update, state = optimizer.update(jnp.ones(1), state, params)
        sizes.append(-float(update[0]))
    # Adam on a constant gradient of 1 moves by the learning rate, less its epsilon of 1e-5 and the
    # rounding of 1 - 0.999, a thousandfold beside it: 1e-4.
    linear = settings["schedule"] == "linear"
    expected = 0.1 * (1 - np.arange(steps) / steps) if linear else np.full(steps, 0.1)
    np.testing.assert_allclose(sizes, expected, rtol=1e-3)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_envs": 0}, "num_envs must be positive"),
        ({"learning_rate": -1.0}, "learning_rate must be positive"),
        ({"gamma": 1.5}, r"gamma must lie in \[0.0, 1.0\], got 1.5"),
        ({"minibatches": 3}, "minibatches=3 does not divide"),
        ({"total_steps": 10}, "less than one batch"),
        ({"schedule": "liner"}, "Did you mean 'linear'"),
        ({"entropy_coefficient": -0.1}, "entropy_coefficient must lie"),
    ],
)
def test_bad_settings_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        replace(SMALL, **settings)


def test_bad_window_is_refused():
    with pytest.raises(ConfigError, match="last must lie"):
        MeanReturnLoss(0.0)


def test_observations_that_are_numbers_of_states_are_refused():
    env = envs.make("grid/debug?observation=index")
    with pytest.raises(ConfigError, match="Choose another observation"):
        PPO(env, SMALL, rules.ppo())
