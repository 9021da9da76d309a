"""The actor-critic with another optimizer than its Adam, learned ones above all."""

from dataclasses import replace
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from metarl import envs, rules
from metarl.core.contracts import Unroll
from metarl.estimators.full_es import FullES, FullESConfig
from metarl.inner.ppo import PPO, PPOTheta
from metarl.inner.ppo_config import PPOConfig
from metarl.inner.scores import MeanReturnLoss
from metarl.networks.actor_critic import NetworkConfig
from metarl.optimizers import (
    InnerOptimizer,
    OpenNetworkConfig,
    by_path,
    fixed,
    from_optax,
    open_inner_optimizer,
)
from metarl.optimizers.open.open_network import from_vector, to_vector
from metarl.problems.agent_settings import settings_for
from metarl.tasks.environments import FixedTask
from tests.learning import probes
from tests.optimizers.weights import random_theta, released

SMALL = PPOConfig(
    total_steps=96,
    num_envs=2,
    rollout_length=16,
    epochs=2,
    minibatches=2,
    network=NetworkConfig(hidden=(8,)),
)
UPDATES, STEPS = 3, 12


def train(learner, theta, key, task=None):
    task = learner.env.default_params if task is None else task
    unroll = Unroll(FixedTask(task), learner, learner.config.updates, MeanReturnLoss(0.5))
    return jax.jit(lambda k: unroll.run(k, theta, task))(key)


class Notes(NamedTuple):
    """Arguments that an optimizer received, `[STEPS, ...]`."""

    number: jax.Array
    progress: jax.Array
    epoch_progress: jax.Array
    drawn: jax.Array
    value: jax.Array
    activity: dict


def witness(params, needs_activity=True):
    """An optimizer that changes nothing and records its arguments."""

    def transformation(theta, info, num_steps):
        assert num_steps == STEPS

        def init(params):
            units = {about.units: p.shape[-1] for about, p in zip(info, leaves, strict=True)}
            units.pop(None, None)
            zeros = {name: jnp.zeros((STEPS, size)) for name, size in units.items()}
            return Notes(jnp.int32(0), *jnp.zeros((4, STEPS)), zeros)

        def update(updates, state, params=None, *, progress, epoch_progress, key, activity, value):
            if activity is None:
                activity = {}
            received = (progress, epoch_progress, jax.random.uniform(key), value, activity)
            n = state.number
            recorded = jax.tree.map(lambda log, x: log.at[n].set(x), tuple(state[1:]), received)
            return jax.tree.map(jnp.zeros_like, updates), Notes(n + 1, *recorded)

        leaves = jax.tree.leaves(params)
        return optax.GradientTransformationExtraArgs(init, update)

    return InnerOptimizer("witness", lambda key: (), transformation, needs_activity)


def test_an_optimizer_is_told_where_it_stands(key):
    """On a probe with one observation, the activity of every layer is known in closed form."""
    probe = probes.constant_reward()
    config = replace(SMALL, normalize_advantage=False)
    learner = PPO(probe.env, config, rules.ppo())
    shapes = jax.eval_shape(lambda k: learner.init(k, (), {}).params, key)
    learner = replace(learner, inner_optimizer=witness(shapes))
    theta = learner.initial_theta(key)
    assert theta == PPOTheta((), ())
    _, log, state = train(learner, theta, key)
    notes = state.opt_state
    # Nothing moves, so the ratio is 1; every advantage is the same error of the value, positive.
    surrogate = np.sqrt(2 * log.value_loss)
    entropy_bonus = SMALL.entropy_coefficient * log.entropy
    expected = -surrogate + SMALL.value_coefficient * log.value_loss - entropy_bonus
    np.testing.assert_allclose(notes.value.reshape(3, 4).mean(1), expected, rtol=1e-5)
    assert int(notes.number) == STEPS == UPDATES * SMALL.epochs * SMALL.minibatches
    np.testing.assert_allclose(notes.progress, np.repeat([0, 0.5, 1], 4))
    np.testing.assert_allclose(notes.epoch_progress, np.tile([0, 0, 1, 1], 3))
    assert len(set(np.asarray(notes.drawn).tolist())) == STEPS
    p = jax.tree.map(lambda x: np.asarray(x, np.float64), state.params["params"])
    expected = {}
    for torso, head in (("actor_torso", "policy_head"), ("critic_torso", "value_head")):
        layer = p[torso]["Dense_0"]
        hidden = np.tanh(np.ones(1) @ layer["kernel"] + layer["bias"])
        expected[f"params/{torso}/Dense_0"] = np.abs(hidden)
        expected[f"params/{head}"] = np.abs(hidden @ p[head]["kernel"] + p[head]["bias"])
    assert notes.activity.keys() == expected.keys()
    for name, value in expected.items():
        for received in np.asarray(notes.activity[name]):
            np.testing.assert_allclose(received, value, rtol=1e-5, atol=1e-7, err_msg=name)


def test_activity_is_measured_only_for_who_wants_it(key):
    learner = PPO(probes.constant_reward().env, SMALL, rules.ppo())
    shapes = jax.eval_shape(lambda k: learner.init(k, (), {}).params, key)
    learner = replace(learner, inner_optimizer=witness(shapes, needs_activity=False))
    state = jax.eval_shape(
        lambda k: train(learner, learner.initial_theta(k), k)[2], jax.random.key(0)
    )
    assert state.opt_state.activity == {}


def test_adam_can_be_handed_in(key):
    """The same bits as the learner's own Adam."""
    env = probes.continuous_target().env
    own = PPO(env, SMALL, rules.ppo())
    steps = SMALL.updates * SMALL.epochs * SMALL.minibatches
    handed = replace(own, inner_optimizer=from_optax("adam", own.optimizer(steps)))
    first, second = train(own, (), key), train(handed, PPOTheta((), ()), key)
    for a, b in zip(jax.tree.leaves(first), jax.tree.leaves(second), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.fixture(scope="module")
def open_learner():
    """OPEN with random weights on a continuous probe, so that `log_std` has its part."""
    optimizer = open_inner_optimizer(theta=random_theta())
    return PPO(probes.continuous_target().env, SMALL, rules.ppo(), optimizer)


def test_open_moves_every_parameter_and_stays_finite(open_learner, key):
    theta = open_learner.initial_theta(key)
    task = open_learner.env.default_params
    start = jax.jit(open_learner.init)(jax.random.split(key)[0], theta, task).params
    loss, _, state = train(open_learner, theta, key)
    assert np.isfinite(loss)
    for (path, a), b in zip(
        jax.tree_util.tree_leaves_with_path(start), jax.tree.leaves(state.params), strict=True
    ):
        moved = np.abs(np.asarray(b) - a)
        assert np.isfinite(moved).all()
        # twelve steps, each of order 0.001 at most, up or down
        assert 1e-6 < moved.max() < 0.5, jax.tree_util.keystr(path)


def test_evolution_finds_a_gradient_of_theta(open_learner, key):
    """OPEN can be meta-trained: the whole of PPO between theta and the loss.

    Theta is the flat vector here: drawing one perturbation compiles much faster than twenty.
    """
    network, optimizer = OpenNetworkConfig(), open_learner.inner_optimizer
    flat = InnerOptimizer(
        "flat",
        lambda key: to_vector(network, optimizer.init(key)),
        lambda theta, info, num_steps: optimizer.transformation(
            from_vector(network, theta), info, num_steps
        ),
        optimizer.needs_activity,
    )
    config = replace(SMALL, network=NetworkConfig(hidden=()))
    learner = replace(open_learner, inner_optimizer=flat, config=config)
    unroll = Unroll(FixedTask({}), learner, UPDATES, MeanReturnLoss(0.5))
    theta = learner.initial_theta(key)
    es = FullES(FullESConfig(population=4, shaping="none"), (unroll,))
    estimate, _ = jax.jit(es.estimate)(key, theta, es.init(key, theta))
    assert estimate.gradient.rule == ()
    for name, leaf in from_vector(network, estimate.gradient.optimizer).items():
        assert np.isfinite(leaf).all(), name
        assert np.abs(leaf).max() > 0, name
    assert int(estimate.diverged) == 0


def test_a_drift_can_be_learned_with_a_fixed_optimizer(open_learner, key):
    optimizer = fixed(open_learner.inner_optimizer, random_theta())
    learner = PPO(open_learner.env, SMALL, rules.learned_drift(), optimizer)
    theta = learner.initial_theta(key)
    assert set(theta.rule) == {"first", "last"}
    assert theta.optimizer == ()
    jax.eval_shape(lambda k: train(learner, theta, k)[0], key)


@pytest.mark.slow
def test_released_weights_learn_breakout(key):
    """Far above chance, which is 0.4, after a fiftieth of the lifetime they were made for."""
    name = "gymnax/Breakout-MinAtar"
    config = replace(settings_for(name), total_steps=200_000)
    learner = PPO(envs.make(name), config, rules.ppo(), by_path(released("breakout")))
    loss, _, _ = train(learner, learner.initial_theta(key), key)
    assert -float(loss) > 1.5
