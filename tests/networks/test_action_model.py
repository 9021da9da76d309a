"""The agent's network against float64 NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from metarl.core.errors import ConfigError
from metarl.networks.action_model import ActionModelConfig, AgentNetwork
from tests.quick_compilation import quick_jit

A, Y = 3, 5
CONFIG = ActionModelConfig(hidden=(7, 6), width=4, head_hidden=8, head_std=0.01)
OUTPUTS = (("logits", (A,)), ("y", (Y,)), ("z", (A, Y)), ("aux", (A, A)), ("value", ()))


@pytest.fixture(scope="module")
def network():
    return AgentNetwork(CONFIG, OUTPUTS, 2)


@pytest.fixture(scope="module")
def params(network):
    shapes = jax.eval_shape(network.init, jax.random.key(0), jnp.zeros((2, 3)))["params"]
    rng = np.random.default_rng(1)  # larger than the initial ones, and no bias zero
    return jax.tree.map(lambda x: np.float32(rng.normal(0, 0.7, x.shape)), shapes)


def in_numpy(params, obs):
    """One observation, one action at a time."""
    p = jax.tree.map(lambda x: np.asarray(x, np.float64), params)

    def dense(name, x):
        return x @ p[name]["kernel"] + p[name].get("bias", 0.0)

    def sigmoid(x):
        return 1 / (1 + np.exp(-x))

    torso = dense("torso_1", np.maximum(dense("torso_0", obs.ravel()), 0))
    out = {name: dense(f"{name}_head", torso) for name in ("logits", "y")}
    out["value"] = dense("value_head", torso)[0]
    cell = dense("root", torso)
    rows = []
    for action in range(A):
        weights = np.concatenate([p["action"]["kernel"], p["recurrent"]["kernel"]])
        inputs = np.concatenate([np.eye(A)[action], np.tanh(cell)])
        i, g, f, o = np.split(inputs @ weights + p["recurrent"]["bias"], 4)
        stepped = sigmoid(f + 1) * cell + sigmoid(i) * np.tanh(g)
        rows.append(sigmoid(o) * np.tanh(stepped))
    for name in ("z", "aux"):
        hidden = [np.maximum(dense(f"{name}_hidden", row), 0) for row in rows]
        out[name] = np.stack([dense(f"{name}_head", h) for h in hidden])
    return out


def test_against_numpy_with_any_batch_axes(network, params):
    obs = np.random.default_rng(2).normal(size=(2, 4, 2, 3)).astype(np.float32)
    got = jax.jit(lambda p, x: network.apply({"params": p}, x))(params, obs)
    assert {name: value.shape for name, value in got.items()} == {
        name: (2, 4, *shape) for name, shape in OUTPUTS
    }
    for i in np.ndindex(2, 4):
        for name, expected in in_numpy(params, obs[i].astype(np.float64)).items():
            # Three or four layers of at most 8 inputs, each term of order one.
            np.testing.assert_allclose(got[name][i], expected, rtol=1e-4, atol=2e-5)


def test_without_batch_axes(network, params):
    single = jax.jit(lambda p: network.apply({"params": p}, jnp.ones((2, 3))))(params)
    for name, expected in in_numpy(params, np.ones((2, 3))).items():
        np.testing.assert_allclose(single[name], expected, rtol=1e-4, atol=2e-5)


def test_initial_scales(key):
    config = ActionModelConfig(hidden=(256,), width=64)
    network = AgentNetwork(config, (("logits", (50,)), ("q", (50, 20))), 1)
    init = quick_jit(network.init)
    params = init(key, jnp.zeros(100))["params"]
    # A normal cut at two standard deviations has the standard deviation 0.8796.
    for name, std in (("logits_head", 0.01), ("torso_0", 0.1), ("recurrent", (50 + 64) ** -0.5)):
        kernel = np.asarray(params[name]["kernel"])
        assert abs(kernel.std() / std - 0.8796) < 4 / np.sqrt(2 * kernel.size)
    assert all(not np.any(layer.get("bias", 0)) for layer in params.values())


def test_plain_outputs_alone_need_no_model(key):
    network = AgentNetwork(CONFIG, (("logits", (A,)),), 1)
    assert "root" not in jax.eval_shape(network.init, key, jnp.zeros(4))["params"]


def test_settings_out_of_range_are_refused(key):
    with pytest.raises(ConfigError):
        ActionModelConfig(width=0)
    with pytest.raises(ConfigError):
        ActionModelConfig(hidden=(3, -1))
    network = AgentNetwork(CONFIG, (("z", (2, Y)), ("q", (3, Y))), 1)
    with pytest.raises(ConfigError, match="numbers of actions"):
        jax.eval_shape(network.init, key, jnp.zeros(4))
