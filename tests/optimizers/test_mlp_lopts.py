"""`mlp_lopt` and `adafac_mlp_lopt` against the naive formulas in float64, over several steps."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from metarl.core.errors import ConfigError
from metarl.optimizers import (
    MULO,
    AdafacMLPLoptConfig,
    MLPLoptConfig,
    adafac_mlp_lopt,
    adafac_mlp_lopt_init,
    adafac_mlp_lopt_inner,
    mlp_lopt,
    mlp_lopt_init,
    mlp_lopt_inner,
)
from metarl.optimizers.lopt.adafac_mlp_lopt import learned_rates
from metarl.optimizers.parameters import describe
from tests.optimizers import numpy_lopt
from tests.optimizers.uneven import GRADIENT_SCALES, SHAPES, assert_close, gradients, uneven_tree

MOMENTA = (0.1, 0.5, 0.9, 0.99, 0.999, 0.9999)
NOMINAL = [0.9, 0.99, 0.999]
OFFSETS = {
    "momenta": np.float32([0.15216392, 0.14245212, 0.06812963]),
    "rms": np.float32([0.01079706]),
    "factored": np.float32([0.18621896, -0.10864615, -0.06185547]),
}
"""Learned offsets of the decays of muLO's published weights."""


def shifted(decays, offsets):
    return 1 - (1 - np.float64(decays)) * np.exp(10 * np.float64(offsets))


def perturbed(theta, seed=0):
    """Weights of which none is zero, biases included."""
    rng = np.random.default_rng(seed)
    return jax.tree.map(lambda x: x + np.float32(0.05 * rng.normal(size=x.shape)), theta)


class MLPLopt:
    config = MLPLoptConfig(hidden=32)
    theta = perturbed(mlp_lopt_init(config, jax.random.key(0)))
    transformation = mlp_lopt(theta, config)

    def tensor(self, shape):
        return numpy_lopt.Tensor(shape, MOMENTA)

    def step(self, *arguments):
        return numpy_lopt.mlp_lopt_step(arguments[0], self.theta, *arguments[1:])


class Adafac:
    def __init__(self, config):
        self.config = config
        self.theta = perturbed(adafac_mlp_lopt_init(config, jax.random.key(0)))
        self.theta["decays"] = OFFSETS
        self.transformation = adafac_mlp_lopt(self.theta, config)

    def tensor(self, shape):
        nominal = {"momenta": NOMINAL, "rms": [0.999], "factored": NOMINAL}
        return numpy_lopt.Tensor(
            shape, *(shifted(nominal[kind], OFFSETS[kind]) for kind in OFFSETS)
        )

    def step(self, *arguments):
        tensor, *rest = arguments
        network, scale = self.theta["network"], self.config.step_mult
        return numpy_lopt.adafac_step(tensor, network, *rest, scale, self.config.exp_mult)


OPTIMIZERS = {
    "mlp_lopt": MLPLopt(),
    "adafac, 4 wide": Adafac(AdafacMLPLoptConfig()),
    "adafac, 32 wide": Adafac(MULO),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_updates_against_numpy_over_steps(name):
    optimizer = OPTIMIZERS[name]
    params = uneven_tree(0)
    state = optimizer.transformation.init(params)
    tensors = {name: optimizer.tensor(shape) for name, shape in SHAPES.items()}
    update = jax.jit(optimizer.transformation.update)
    for t, gradient in enumerate(gradients()):
        updates, state = update(gradient, state, params)
        expected = {
            leaf: -optimizer.step(tensors[leaf], np.float64(params[leaf]), np.float64(g), t)
            for leaf, g in gradient.items()
        }
        assert_close(updates, expected, rtol=1e-5)
        params = optax.apply_updates(params, updates)
    assert int(state.iteration) == len(GRADIENT_SCALES)


def test_time_features_far_beyond_any_training():
    """At the largest count they are one, to the bit what they are anywhere near it."""
    optimizer, params = OPTIMIZERS["mlp_lopt"], uneven_tree(0)
    state = optimizer.transformation.init(params)
    update = jax.jit(optimizer.transformation.update)
    last = state._replace(iteration=jnp.int32(np.iinfo(np.int32).max))
    updates, after = update(gradients()[0], last, params)
    assert int(after.iteration) == np.iinfo(np.int32).max
    tensor = optimizer.tensor(SHAPES["c_matrix"])
    arguments = np.float64(params["c_matrix"]), np.float64(gradients()[0]["c_matrix"]), 2.0**31
    expected = {"c_matrix": -optimizer.step(tensor, *arguments)}
    assert_close(updates, expected)


def test_decays_are_learned_as_published():
    zeros = {"momenta": np.zeros(3), "rms": np.zeros(1), "factored": np.zeros(3)}
    start = learned_rates(zeros)
    np.testing.assert_allclose(start.momenta, [0.1, 0.01, 0.001], rtol=1e-6)
    np.testing.assert_allclose(start.rms, [0.001], rtol=1e-6)
    # kept in [0, 1]
    far = learned_rates(zeros | {"momenta": np.array([0.1, -0.1, 1.0])})
    np.testing.assert_allclose(far.momenta, [0.1 * np.e, 0.01 / np.e, 1.0], rtol=1e-6)
    # what others print of muLO's
    published = learned_rates(OFFSETS)
    np.testing.assert_allclose(1 - published.momenta, [0.542027, 0.958441, 0.998024], atol=1e-6)
    np.testing.assert_allclose(1 - published.rms, [0.998886], atol=1e-6)
    np.testing.assert_allclose(1 - published.factored, [0.356218, 0.996626, 0.999461], atol=1e-6)


def test_initial_weights_have_the_stated_spread():
    theta = mlp_lopt_init(MLPLoptConfig(hidden=64, depth=3), jax.random.key(1))
    assert {name: layer["kernel"].shape for name, layer in theta.items()} == {
        "layer_0": (19, 64),
        "layer_1": (64, 64),
        "layer_2": (64, 64),
        "layer_3": (64, 2),
    }
    kernel = np.asarray(theta["layer_1"]["kernel"]) * 8
    assert np.abs(kernel).max() <= 2
    # standard deviation of a standard normal cut at two; five standard errors
    np.testing.assert_allclose(kernel.std(), 0.8796, atol=5 / np.sqrt(2 * kernel.size))
    assert all(np.all(np.asarray(layer["bias"]) == 0) for layer in theta.values())


def test_sizes_are_published():
    def size(theta):
        return sum(x.size for x in jax.tree.leaves(theta))

    key = jax.random.key(0)
    assert size(mlp_lopt_init(MLPLoptConfig(), key)) == 1762
    assert size(adafac_mlp_lopt_init(MULO, key)) == 2402 + 7
    assert size(adafac_mlp_lopt_init(AdafacMLPLoptConfig(), key)) == 190 + 7


@pytest.mark.parametrize("make", [mlp_lopt_inner, adafac_mlp_lopt_inner])
def test_the_inner_optimizer_is_the_transformation(make):
    optimizer = make()
    params = {"w": jnp.ones((2, 2))}
    theta = optimizer.init(jax.random.key(0))
    tx = optimizer.transformation(theta, describe(params), 10)
    updates, _ = jax.jit(lambda: tx.update(params, tx.init(params), params, value=1.0))()
    assert updates["w"].shape == (2, 2)
    assert optimizer.name.startswith(("mlp_lopt", "adafac_mlp_lopt"))


@pytest.mark.parametrize("config", [MLPLoptConfig, AdafacMLPLoptConfig])
@pytest.mark.parametrize("field", ["hidden", "depth", "step_mult", "exp_mult"])
def test_bad_configs_are_refused(config, field):
    with pytest.raises(ConfigError, match=f"{field} must be positive"):
        config(**{field: 0})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"updates": {"v": np.ones(2)}}, "Gradients have the structure"),
        ({"updates": {"w": np.ones(3)}}, r"gradient of 'w' has shape \(3,\), the parameter \(2,\)"),
        ({"updates": {"w": np.ones(2, np.int32)}}, "gradient 'w' is of dtype int32"),
        ({"params": None}, "lacks the argument params"),
    ],
)
def test_bad_trees_are_refused(change, message):
    tx = OPTIMIZERS["mlp_lopt"].transformation
    good = {"w": np.ones(2, np.float32)}
    arguments = {"updates": good, "state": tx.init(good), "params": good, **change}
    with pytest.raises(ConfigError, match=message):
        tx.update(**arguments)


def test_huge_gradients_are_cut():
    """Squares of squares stay within float32, so the update stays finite."""
    tx, params = OPTIMIZERS["adafac, 4 wide"].transformation, uneven_tree(0)
    huge = jax.tree.map(lambda x: np.full_like(x, 3e38), params)
    cut = jax.tree.map(lambda x: np.full_like(x, 1e6), params)
    update = jax.jit(lambda g: tx.update(g, tx.init(params), params)[0])
    got, expected = update(huge), update(cut)
    for name in got:
        assert np.all(np.isfinite(got[name]))
        np.testing.assert_array_equal(got[name], expected[name])
