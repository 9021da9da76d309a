"""Learnable SGD, momentum and Adam against their textbook formulas in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from metarl.core.errors import ConfigError
from metarl.optimizers import (
    LearnableAdamConfig,
    LearnableMomentumConfig,
    LearnableSGDConfig,
    learnable_adam,
    learnable_adam_init,
    learnable_adam_inner,
    learnable_momentum,
    learnable_momentum_init,
    learnable_momentum_inner,
    learnable_sgd,
    learnable_sgd_init,
    learnable_sgd_inner,
)
from tests.optimizers.uneven import assert_close, gradients, uneven_tree

RATE, DECAY, DECAY_2, EPS = 0.03, 0.8, 0.99, 1e-4


def sgd(g, memory, t):
    return -RATE * g, memory


def momentum(g, memory, t):
    memory = DECAY * memory + g
    return -RATE * memory, memory


def adam(g, memory, t):
    m, v = memory if np.ndim(memory) > np.ndim(g) else (0 * g, 0 * g)
    m, v = DECAY * m + (1 - DECAY) * g, DECAY_2 * v + (1 - DECAY_2) * g * g
    corrected = m / (1 - DECAY ** (t + 1)), v / (1 - DECAY_2 ** (t + 1))
    return -RATE * corrected[0] / (np.sqrt(corrected[1]) + EPS), np.stack([m, v])


CASES = {
    "sgd": (learnable_sgd, learnable_sgd_init, LearnableSGDConfig(RATE), sgd),
    "momentum": (
        learnable_momentum,
        learnable_momentum_init,
        LearnableMomentumConfig(RATE, 1 - DECAY),
        momentum,
    ),
    "adam": (
        learnable_adam,
        learnable_adam_init,
        LearnableAdamConfig(RATE, 1 - DECAY, 1 - DECAY_2, EPS),
        adam,
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_updates_against_numpy_over_steps(name, key):
    make, init, config, oracle = CASES[name]
    tx = make(init(config, key), config)
    params = uneven_tree(0)
    state, memory = tx.init(params), dict.fromkeys(params, 0.0)
    update = jax.jit(tx.update)
    for t, gradient in enumerate(gradients()):
        updates, state = update(gradient, state, params)
        expected = {}
        for leaf, g in gradient.items():
            expected[leaf], memory[leaf] = oracle(np.float64(g), memory[leaf], t)
        assert_close(updates, expected, rtol=1e-5)


def test_the_gradient_in_theta_is_that_of_a_closed_form(key):
    """Two steps of SGD on x^2 / 2 from 1 lead to (1 - r)^2; its derivative in log r."""
    theta = learnable_sgd_init(LearnableSGDConfig(RATE), key)

    def loss(theta):
        tx, x = learnable_sgd(theta), jnp.float32(1)
        for _ in range(2):
            updates, _ = tx.update(x, tx.init(x))
            x = optax.apply_updates(x, updates)
        return x**2 / 2

    got = jax.grad(loss)(theta)["log_learning_rate"]
    np.testing.assert_allclose(got, -2 * (1 - RATE) ** 3 * RATE, rtol=1e-6)


def test_adam_can_be_learned_by_backpropagation_at_zero_gradients(key):
    config = LearnableAdamConfig(eps_root=1e-12)
    theta = learnable_adam_init(config, key)

    def loss(theta, x):
        tx = learnable_adam(theta, config)
        return tx.update(x, tx.init(x))[0].sum()

    gradients = jax.grad(loss, argnums=(0, 1))(theta, jnp.zeros(2))
    assert all(np.all(np.isfinite(x)) for x in jax.tree.leaves(gradients))


def test_a_rate_above_one_counts_as_one():
    theta = {"log_learning_rate": jnp.float32(0), "log_rate": jnp.float32(3)}
    tx, g = learnable_momentum(theta), jnp.ones(2)
    _, state = tx.update(g, tx.init(g))
    np.testing.assert_allclose(tx.update(g, state)[0], -1, rtol=1e-6)


@pytest.mark.parametrize(
    "make", [learnable_sgd_inner, learnable_momentum_inner, learnable_adam_inner]
)
def test_the_inner_optimizer_starts_at_its_config(make, key):
    optimizer, g = make(), jnp.ones(2)
    theta = optimizer.init(key)
    tx = optimizer.transformation(theta, (), 10)
    updates, _ = tx.update(g, tx.init(g), g, value=1.0)
    # the first step of all three is the learning rate times one
    np.testing.assert_allclose(updates, -np.exp(theta["log_learning_rate"]), rtol=1e-5)


@pytest.mark.parametrize(
    ("config", "field"),
    [
        (LearnableSGDConfig, "learning_rate"),
        (LearnableMomentumConfig, "rate"),
        (LearnableAdamConfig, "eps"),
    ],
)
def test_bad_configs_are_refused(config, field):
    with pytest.raises(ConfigError, match=f"{field} must be positive"):
        config(**{field: 0.0})
