"""Celo: against float64 NumPy; and what its released weights do to a small network."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from metarl.core.errors import ConfigError
from metarl.optimizers.celo.celo import CeloConfig, celo, celo_init, celo_inner
from metarl.optimizers.celo.celo_adam import (
    CeloAdamConfig,
    celo_adam,
    celo_adam_init,
    celo_adam_inner,
)
from metarl.optimizers.external.loaders import load_celo, load_celo_adam
from metarl.optimizers.parameters import describe
from metarl.tasks.datasets import load
from tests.optimizers import numpy_velo
from tests.optimizers.numpy_lopt import layers_of, mlp, normalize, velo_channels
from tests.optimizers.uneven import LOSSES, SHAPES, assert_close, float64, gradients, uneven_tree
from tests.optimizers.weights import released_file

CONFIG = CeloConfig(hidden=5)
NUM_STEPS = 7
BATCH, UPDATES = 64, 300
HIDDEN = 16


def random_theta(init, config, seed=0):
    """Weights of which none is zero."""
    rng = np.random.default_rng(seed)
    theta = jax.eval_shape(lambda key: init(config, key), jax.random.key(0))
    return jax.tree.map(lambda x: np.float32(rng.normal(size=x.shape) * 0.5), theta)


THETA = random_theta(celo_init, CONFIG)


@pytest.fixture(scope="module")
def update():
    """One compiled update: `(gradient, state, params, loss) -> (updates, state)`."""
    tx = celo(THETA, CONFIG, NUM_STEPS)
    return jax.jit(lambda g, s, p, loss: tx.update(g, s, p, value=loss))


def test_updates_against_numpy_over_steps(update):
    params = uneven_tree(0)
    state = celo(THETA, CONFIG, NUM_STEPS).init(params)
    oracle = numpy_velo.Celo(THETA, SHAPES, NUM_STEPS)
    for gradient, loss in zip(gradients(), LOSSES, strict=True):
        expected = oracle.updates(float64(params), float64(gradient), loss)
        updates, state = update(gradient, state, params, loss)
        assert_close(updates, expected)
        params = optax.apply_updates(params, updates)


def test_without_a_schedule_it_needs_no_loss():
    """The first phase: the factor is 1, and theta has no scheduler."""
    config, shapes = CeloConfig(scheduled=False), {"b_vector": (3,)}
    theta = random_theta(celo_init, config)
    assert list(theta) == ["network"]
    params, gradient = uneven_tree(0, shapes=shapes), uneven_tree(1, shapes=shapes)
    tx = celo(theta, config)
    updates, _ = jax.jit(lambda g, p: tx.update(g, tx.init(p), p))(gradient, params)
    (tensor,) = numpy_velo.tensors_of(shapes).values()
    p, g = np.float64(params["b_vector"]), np.float64(gradient["b_vector"])
    tensor.see(g)
    out = mlp(layers_of(theta["network"]), normalize(velo_channels(tensor, p, g)))
    step = 1e-3 * numpy_velo.scale_of(p) * out[:, 0] * np.exp(1e-3 * out[:, 1])
    assert_close(updates, {"b_vector": -step})


def test_the_second_phase_learns_the_schedule_alone(key):
    optimizer = celo_inner(CONFIG, network=THETA["network"])
    theta = optimizer.init(key)
    assert list(theta) == ["schedule"]
    params = {"w": jnp.ones(3)}
    whole = {**THETA, "schedule": theta["schedule"]}
    programs = [
        jax.jit(lambda g, tx=tx: tx.update(g, tx.init(params), params, value=1.0)[0])
        for tx in (
            optimizer.transformation(theta, describe(params), 3),
            celo_inner(CONFIG).transformation(whole, describe(params), 3),
        )
    ]
    held, together = (program.lower(params).as_text() for program in programs)
    assert held == together


def test_celo_adam_against_numpy_over_steps():
    config = CeloAdamConfig(hidden=5)
    theta = random_theta(celo_adam_init, config)
    tx = celo_adam_inner(config).transformation(theta, (), NUM_STEPS)
    step = jax.jit(lambda g, s, loss: tx.update(g, s, value=loss))
    state = tx.init(uneven_tree(0))
    schedule = numpy_velo.Schedule(theta["schedule"], len(SHAPES), NUM_STEPS)
    m, v = ({name: np.zeros(shape) for name, shape in SHAPES.items()} for _ in range(2))
    for t, (gradient, loss) in enumerate(zip(gradients(), LOSSES, strict=True), 1):
        gradient["c_matrix"][0, 0] = np.nan
        updates, state = step(gradient, state, loss)
        gradient["c_matrix"][0, 0] = 0
        factor = schedule.factors(loss)[0]
        expected = {}
        for name, g in float64(gradient).items():
            g = np.clip(g, -1000, 1000)
            m[name] = 0.9 * m[name] + 0.1 * g
            v[name] = 0.999 * v[name] + 0.001 * g * g
            root = np.sqrt(v[name] / (1 - 0.999**t) + 1e-10)
            expected[name] = -1e-3 * factor * m[name] / (1 - 0.9**t) / (1e-8 + root)
        assert_close(updates, expected)


def test_missing_arguments_are_refused():
    params = {"w": jnp.ones(2)}
    theta = random_theta(celo_adam_init, CeloAdamConfig())
    for make, weights in ((celo, THETA), (celo_adam, theta)):
        with pytest.raises(ConfigError, match="needs num_steps"):
            make(weights)
        tx = make(weights, num_steps=3)
        with pytest.raises(ConfigError, match="lacks the argument value"):
            tx.update(params, tx.init(params), params)
        with pytest.raises(ConfigError, match="scalar loss"):
            tx.update(params, tx.init(params), params, value=jnp.ones(1))
        with pytest.raises(ConfigError, match="floating"):
            tx.init({"w": jnp.ones(2, jnp.int32)})


def cross_entropy(params, images, labels):
    logits = jax.nn.relu(images @ params["w0"]) @ params["w1"]
    return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()


def final_loss(tx, key, images, labels):
    """Mean loss on all training images after `UPDATES` batches."""
    images, labels = jnp.asarray(images), jnp.asarray(labels)
    w0, w1, order = jax.random.split(key, 3)
    params = {
        "w0": jax.random.normal(w0, (images.shape[1], HIDDEN)) / 8,
        "w1": jax.random.normal(w1, (HIDDEN, 10)) / 4,
    }

    def step(carry, batch):
        params, state = carry
        value, gradient = jax.value_and_grad(cross_entropy)(params, images[batch], labels[batch])
        updates, state = tx.update(gradient, state, params, value=value)
        return (optax.apply_updates(params, updates), state), None

    batches = jax.random.randint(order, (UPDATES, BATCH), 0, len(images))
    (params, _), _ = jax.lax.scan(step, (params, tx.init(params)), batches)
    return cross_entropy(params, images, labels)


@pytest.fixture(scope="module")
def digits():
    data = load("digits")
    images = np.float32(data.train_inputs.reshape(-1, 64)) * np.float32(data.scale)
    return images, data.train_targets


@pytest.fixture(scope="module")
def tuned_adam(digits):
    """Loss under the best of nine learning rates."""

    def run(rate):
        adam = optax.with_extra_args_support(optax.adam(rate))
        return final_loss(adam, jax.random.key(0), *digits)

    rates = np.geomspace(1e-3, 1e-1, 9).astype(np.float32)
    return float(np.min(jax.jit(jax.vmap(run))(rates)))


def losses_of(make, digits, *thetas):
    """For each theta."""
    run = jax.jit(lambda theta: final_loss(make(theta), jax.random.key(0), *digits))
    return [float(run(theta)) for theta in thetas]


def test_released_weights_train_the_digits(digits, tuned_adam, key):
    """Far below their untrained selves, which learn nothing, and not above tuned Adam."""
    config, theta = load_celo(released_file("celo/celo.msgpack"))
    trained, untrained = losses_of(
        lambda theta: celo(theta, config, UPDATES), digits, theta, celo_init(config, key)
    )
    assert untrained > 1.5
    assert trained < 1.5 * tuned_adam


def test_released_schedule_trains_the_digits(digits, tuned_adam, key):
    """An untrained schedule is Adam with a learning rate of about 1e-4."""
    config, theta = load_celo_adam(released_file("celo/celo_adam.msgpack"))
    trained, untrained = losses_of(
        lambda theta: celo_adam(theta, config, UPDATES), digits, theta, celo_adam_init(config, key)
    )
    assert untrained > 1.5
    assert trained < 1.5 * tuned_adam
