"""The network of OPEN: its published layout, and its forward pass against NumPy and flax."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from metarl.core.errors import ConfigError
from metarl.optimizers.open.open_network import (
    OpenNetworkConfig,
    from_vector,
    open_init,
    open_network,
    to_vector,
)
from metarl.optimizers.open.open_weights import load_open
from tests.optimizers import numpy_open
from tests.optimizers.weights import random_theta, released

SMALL, LARGE = OpenNetworkConfig(), OpenNetworkConfig(recurrent=16, hidden=32)
SLICES = {
    "hn_bias": (0, 8),
    "hn_kernel": (8, 72),
    "hr_kernel": (72, 136),
    "hz_kernel": (136, 200),
    "in_bias": (200, 208),
    "in_kernel": (208, 360),
    "ir_bias": (360, 368),
    "ir_kernel": (368, 520),
    "iz_bias": (520, 528),
    "iz_kernel": (528, 680),
    "dense_0_bias": (680, 696),
    "dense_0_kernel": (696, 824),
    "norm_0_bias": (824, 840),
    "norm_0_scale": (840, 856),
    "dense_1_bias": (856, 872),
    "dense_1_kernel": (872, 1128),
    "norm_1_bias": (1128, 1144),
    "norm_1_scale": (1144, 1160),
    "dense_2_bias": (1160, 1163),
    "dense_2_kernel": (1163, 1211),
}
"""Where the arrays lie in the released vectors."""


def test_the_layout_is_the_published_one():
    theta = from_vector(SMALL, np.arange(1211))
    assert {n: (int(x.flat[0]), int(x.flat[-1]) + 1) for n, x in theta.items()} == SLICES
    # row-major (in, out): the next number is the next output of the same input
    assert theta["in_kernel"].shape == (19, 8)
    assert theta["in_kernel"][0, 1] - theta["in_kernel"][0, 0] == 1
    assert (SMALL.size, LARGE.size) == (1211, 3571)
    assert from_vector(LARGE, np.arange(3571))["dense_0_bias"][0] == 1744


@pytest.mark.parametrize("config", [SMALL, LARGE])
def test_layout_round_trip(config):
    vector = np.random.default_rng(0).normal(size=config.size).astype(np.float32)
    np.testing.assert_array_equal(to_vector(config, from_vector(config, vector)), vector)


class FlaxModules:
    """The modules that the authors name, on their own parameter trees."""

    def __init__(self, config):
        self.cell = nn.GRUCell(config.recurrent)
        hidden = [[nn.Dense(config.hidden), nn.LayerNorm(), nn.relu] for _ in range(2)]
        self.layers = nn.Sequential([*hidden[0], *hidden[1], nn.Dense(3)])

    def __call__(self, vector, h, x):
        example = {
            "params": self.layers.init(jax.random.key(0), h),
            "gru_params": self.cell.init(jax.random.key(0), h, x),
        }
        tree = ravel_pytree(example)[1](vector)
        h, out = self.cell.apply(tree["gru_params"], h, x)
        return self.layers.apply(tree["params"], out), h


@pytest.mark.parametrize("config", [SMALL, LARGE])
def test_forward_against_flax_and_numpy(config):
    theta = random_theta(1, config)
    rng = np.random.default_rng(2)
    h = rng.normal(size=(5, config.recurrent)).astype(np.float32)
    x = rng.normal(size=(5, 19)).astype(np.float32) * 2
    outputs, carry = jax.jit(open_network)(theta, h.T, x.T)
    # a layer normalisation divides float32 rounding (1e-7 of sums of 19 terms) by its spread
    expected, state = numpy_open.forward(theta, h.astype(np.float64), x.astype(np.float64))
    np.testing.assert_allclose(outputs.T, expected, rtol=1e-5, atol=2e-5)
    np.testing.assert_allclose(carry.T, state, atol=2e-6)
    expected, state = jax.jit(FlaxModules(config))(to_vector(config, theta), h, x)
    np.testing.assert_allclose(outputs.T, expected, rtol=1e-5, atol=2e-5)
    np.testing.assert_allclose(carry.T, state, atol=2e-6)


def test_the_start_stands_still_and_has_the_stated_spread(key):
    theta = open_init(OpenNetworkConfig(recurrent=64, hidden=64), key)
    outputs, _ = jax.jit(open_network)(theta, jnp.zeros((64, 2)), jnp.ones((19, 2)))
    np.testing.assert_array_equal(outputs, 0)
    for name, fan_in in (("in_kernel", 19), ("dense_1_kernel", 64)):
        kernel = np.asarray(theta[name])
        error = 5 / np.sqrt(2 * kernel.size)  # five standard errors of a standard deviation
        np.testing.assert_allclose(kernel.std() * np.sqrt(fan_in), 1, atol=error)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("ant", [-1.0214836, 0.2686985, -0.2578132]),
        ("freeway", [1.4823719, -0.4426318, 0.243383]),
    ],
)
def test_released_weights_give_known_outputs(name, expected):
    """All features 0.5, fresh state; the numbers were made from the released files in float64."""
    config, theta = load_open(released(name))
    features = jnp.full((19, 1), 0.5)
    outputs, _ = jax.jit(open_network)(theta, jnp.zeros((config.recurrent, 1)), features)
    np.testing.assert_allclose(outputs[:, 0], expected, atol=1e-5)


def test_bad_widths_are_refused():
    with pytest.raises(ConfigError, match="recurrent must be positive"):
        OpenNetworkConfig(recurrent=0)
