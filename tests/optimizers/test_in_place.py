"""Parameters and state overwritten: the same numbers, and no memory beside them."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from metarl import optimizers
from metarl.optimizers import in_place
from metarl.optimizers.adafac_mlp_lopt import (
    FACTORED,
    MOMENTA,
    RMS,
    AdafacMLPLoptConfig,
    adafac_mlp_lopt,
    adafac_mlp_lopt_init,
)
from tests.optimizers import numpy_lopt

SHAPES = {"w": (96, 128), "b": (128,)}


CONFIG = AdafacMLPLoptConfig(step_mult=0.1)


@pytest.fixture(scope="module")
def tx():
    return adafac_mlp_lopt(adafac_mlp_lopt_init(CONFIG, jax.random.key(0)), CONFIG)


def drawn(seed):
    rng = np.random.default_rng(seed)
    return {name: jnp.float32(rng.normal(size=shape)) for name, shape in SHAPES.items()}


@pytest.fixture(scope="module")
def compiled(tx):
    """The one program of this module, for an abstract state."""
    params = jax.eval_shape(lambda: drawn(0))
    return in_place(tx).lower(params, params, jax.eval_shape(tx.init, params)).compile()


def test_the_numbers_are_the_formula_s(tx, compiled):
    theta = adafac_mlp_lopt_init(CONFIG, jax.random.key(0))
    layers = numpy_lopt.layers_of(jax.tree.map(np.float64, theta["network"]))
    params, grads = drawn(1), drawn(2)
    new, state = compiled(jax.tree.map(jnp.copy, params), grads, tx.init(params))
    for name, shape in SHAPES.items():
        tensor = numpy_lopt.Tensor(shape, MOMENTA, RMS, FACTORED)
        p, g = np.float64(params[name]), np.float64(grads[name])
        tensor.see(g)
        channels = numpy_lopt.normalised(numpy_lopt.adafac_channels(tensor, p, g))
        times = np.broadcast_to(numpy_lopt.time_channels(0), (*shape, 11))
        out = numpy_lopt.mlp(layers, np.concatenate([channels, times], -1))
        step = CONFIG.step_mult * out[..., 0] * np.exp(CONFIG.exp_mult * out[..., 1])
        assert np.abs(step).max() > 1e-2
        # fifty roundings of the step, as in the kernel's tests, and one of the sum
        roundings = 3e-6 * np.abs(step).max() + np.finfo(np.float32).eps * np.abs(p).max()
        np.testing.assert_allclose(new[name], p - step, atol=roundings, rtol=0)
        largest = np.abs(g).max()
        np.testing.assert_allclose(state.moments[name].momenta, tensor.m, atol=2e-7 * largest)
    assert state.iteration == 1


def test_what_was_given_is_gone(tx, compiled):
    params, grads = drawn(1), drawn(2)
    state = tx.init(params)
    compiled(params, grads, state)
    assert params["w"].is_deleted()
    assert state.moments["w"].momenta.is_deleted()
    assert not grads["w"].is_deleted()


def test_everything_is_aliased_and_nothing_of_all_channels_exists(compiled):
    """28 channels, and 39 inputs, would be as many floats an element."""
    count = sum(int(np.prod(shape)) for shape in SHAPES.values())
    memory = compiled.memory_analysis()
    kept = 4 * count * 5  # parameter, three momenta, mean square
    assert memory.alias_size_in_bytes >= kept
    assert memory.output_size_in_bytes - memory.alias_size_in_bytes < 0.01 * kept
    assert memory.temp_size_in_bytes <= 12 * 4 * count


def test_what_an_optimizer_is_told_reaches_it():
    def update(updates, state, params=None, *, value, **unused):
        return jax.tree.map(lambda g: -value * g, updates), state

    tx = optax.GradientTransformationExtraArgs(lambda params: (), update)
    params, _ = in_place(tx)(jnp.ones(2), jnp.ones(2), (), value=jnp.float32(3))
    np.testing.assert_array_equal(params, [-2.0, -2.0])


def test_it_is_public():
    assert optimizers.in_place is in_place
