"""The test of the design: one estimator, with one config, meta-trains a loss and an optimizer.

Neither the class nor a setting changes between a drift function for PPO and an optimizer of a
training problem; only learner, meta-loss and tasks do. In both the sign of the meta-gradient is
known.
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from metarl.core.contracts import Truncation
from metarl.core.keys import split_named
from metarl.core.mesh import make_mesh, on_mesh
from metarl.core.meta_loss import meta_loss_from_logs
from metarl.estimators.antithetic import AntitheticTruncatedESConfig
from metarl.estimators.pes import PES
from metarl.inner.ppo import PPO
from metarl.inner.ppo_config import PPOConfig
from metarl.inner.scores import MeanReturnLoss
from metarl.inner.training import Training
from metarl.inner.training_meta_loss import training_truncation
from metarl.networks.actor_critic import NetworkConfig
from metarl.optimizers.learnable import LearnableSGDConfig, learnable_sgd_inner
from metarl.outer.gradient import GradientMetaOptimizer
from metarl.rules.learned_drift import LearnedDriftConfig, learned_drift
from metarl.tasks import families
from metarl.tasks.curricula import Uniform
from metarl.tasks.environments import FixedTask
from metarl.tasks.lifetimes import Lifetimes
from tests.learning import probes

CONFIG = AntitheticTruncatedESConfig(num_parallel=32, sigma=0.2, stagger=False)
OUTER = optax.adam(0.1)
PARTS, LIFE, LIVES_IN_TURN = 4, 8, 3


def drift_of_ppo():
    """A drift that forbids what the advantage asks for, `relu(1.2 tanh(A log r) - margin)`.

    At 0.8 instead of 1.2 PPO learns as if there were no drift (a mean return of 0.73, not 0.11), so
    the loss can only fall.
    """
    probe = probes.action_reward()
    config = PPOConfig(
        total_steps=LIFE * 32,
        num_envs=4,
        rollout_length=8,
        minibatches=1,
        learning_rate=0.03,
        schedule="constant",
        entropy_coefficient=0.0,
        gamma=probe.gamma,
        network=NetworkConfig(hidden=(4,)),
    )
    learner = PPO(probe.env, config, learned_drift(LearnedDriftConfig(hidden=1)))
    meta_loss = meta_loss_from_logs(MeanReturnLoss(1.0))
    truncation = Truncation(learner, LIFE // PARTS, lambda task: jnp.int32(LIFE), meta_loss)
    theta = {"first": jnp.zeros((8, 1)).at[4].set(1.0), "last": jnp.full((1, 1), 1.2)}
    return truncation, probe.env.default_params, theta


def rate_of_descent():
    """Gradient descent at a learnable rate on a quadratic; at first it is far too small.

    Any rate below two over the largest curvature, 0.2, is stable: from 0.02 it has to go up.
    """
    optimizer = learnable_sgd_inner(LearnableSGDConfig(learning_rate=0.02))
    # So many and so equal axes that no start is much luckier than another.
    family = families.make("quadratic?condition=1-2&curvature=10-10", dimension=64)
    learner = Training(family, optimizer)
    task = Lifetimes(family, LIFE, LIFE).sample(jax.random.key(1))
    theta = optimizer.init(jax.random.key(0))
    return training_truncation(learner, LIFE // PARTS), task, theta


@pytest.mark.parametrize("problem", [rate_of_descent, drift_of_ppo])
@pytest.mark.sampled(1)
def test_one_pes_meta_trains_a_drift_and_an_optimizer(problem):
    truncation, task, theta = problem()
    meta = GradientMetaOptimizer(PES(CONFIG, truncation, Uniform(FixedTask(task))), OUTER)

    def train(key):
        key_init, key_steps = split_named(key, "init", "steps")
        keys = jax.random.split(key_steps, LIVES_IN_TURN * PARTS)
        start = meta.init(key_init, theta)
        return jax.lax.scan(lambda state, key: meta.step(key, state), start, keys)[1]

    log = jax.device_get(on_mesh(train, make_mesh(1))(jax.random.key(0)))
    assert np.all(np.isfinite(log.gradient_norm))
    # All of the first life; later a drift that is out of PPO's way may have no gradient at all.
    assert np.all(log.gradient_norm[:PARTS] > 0)
    assert not np.any(log.diverged)
    # Mean loss of every life: of those that lived first, and of those that lived last.
    losses = log.losses.reshape(LIVES_IN_TURN, PARTS, CONFIG.num_parallel, 2).mean(axis=(1, 3))
    first, last = losses[0], losses[-1]
    error = np.sqrt((first.var(ddof=1) + last.var(ddof=1)) / CONFIG.num_parallel)
    assert first.mean() - last.mean() > 4 * error
