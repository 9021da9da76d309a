"""Actor-critic networks: shapes, independence of torsos, errors, a NumPy forward pass."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import flatten_dict

from metarl.core.errors import ConfigError
from metarl.networks.actor_critic import (
    ActorCritic,
    NetworkConfig,
    apply_with_activity,
    initial_params,
    layer_paths,
)


def make(config, obs_shape=(4,), discrete=True):
    network = ActorCritic(config, 3, discrete, len(obs_shape))
    return network, initial_params(network, jax.random.key(1), jnp.zeros(obs_shape))


@pytest.mark.parametrize("batch", [(), (5,), (2, 5)])
@pytest.mark.parametrize("shared", [False, True])
def test_shapes_and_methods_agree(key, batch, shared):
    network, params = make(NetworkConfig(hidden=(8,), shared_torso=shared))
    obs = jax.random.normal(key, (*batch, 4))
    (logits,), value = network.apply(params, obs)
    assert logits.shape == (*batch, 3)
    assert value.shape == batch
    np.testing.assert_array_equal(network.apply(params, obs, method="policy")[0], logits)
    np.testing.assert_array_equal(network.apply(params, obs, method="value"), value)


def test_forward_against_numpy(key):
    network, params = make(NetworkConfig(hidden=(8, 6)))
    obs = np.asarray(jax.random.normal(key, (4,)), np.float64)
    tree = jax.tree.map(lambda x: np.asarray(x, np.float64), params["params"])

    def torso(layers, x):
        for name in ("Dense_0", "Dense_1"):
            x = np.tanh(x @ layers[name]["kernel"] + layers[name]["bias"])
        return x

    policy = torso(tree["actor_torso"], obs) @ tree["policy_head"]["kernel"]
    value = torso(tree["critic_torso"], obs) @ tree["value_head"]["kernel"]
    (logits,), got = network.apply(params, jnp.float32(obs))
    # Float32 sums over a few hidden units of size one.
    np.testing.assert_allclose(logits, policy + tree["policy_head"]["bias"], atol=1e-6)
    np.testing.assert_allclose(got, value[0] + tree["value_head"]["bias"][0], atol=1e-6)


@pytest.mark.parametrize("shared", [False, True])
def test_value_gradient_reaches_the_actor_only_through_a_shared_torso(key, shared):
    network, params = make(NetworkConfig(hidden=(8,), shared_torso=shared))
    obs = jax.random.normal(key, (4,))
    gradient = jax.grad(lambda p: network.apply(p, obs, method="value"))(params)
    moved = jnp.abs(gradient["params"]["actor_torso"]["Dense_0"]["kernel"]).max() > 0
    assert bool(moved) is shared


def test_gaussian_head(key):
    network, params = make(NetworkConfig(hidden=(8,), initial_log_std=-0.5), discrete=False)
    (mean, log_std), _ = network.apply(params, jax.random.normal(key, (7, 4)))
    assert mean.shape == log_std.shape == (7, 3)
    np.testing.assert_allclose(log_std, -0.5)


def test_convolutions_on_images(key):
    network, params = make(NetworkConfig(hidden=(8,), channels=(4,)), obs_shape=(5, 5, 2))
    (logits,), value = network.apply(params, jax.random.normal(key, (3, 5, 5, 2)))
    assert logits.shape == (3, 3)
    assert value.shape == (3,)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"activation": "tahn"}, "Did you mean 'tanh'"),
        ({"hidden": (0,)}, "width must be positive"),
        ({"hidden": (), "shared_torso": True}, "at least one hidden"),
    ],
)
def test_bad_configs_are_refused(arguments, message):
    with pytest.raises(ConfigError, match=message):
        NetworkConfig(**arguments)


def test_convolutions_on_vectors_are_refused():
    with pytest.raises(ConfigError, match="image observations"):
        make(NetworkConfig(channels=(4,)))


@pytest.mark.parametrize("shared", [False, True])
def test_activity_of_images(key, shared):
    """Means over observations and places; hidden layers behind the nonlinearity, heads plain."""
    config = NetworkConfig(hidden=(8,), channels=(4,), activation="relu", shared_torso=shared)
    network, params = make(config, obs_shape=(5, 5, 2))
    obs = jax.random.normal(key, (3, 2, 5, 5, 2))
    outputs, activity = jax.jit(lambda p, o: apply_with_activity(network, p, o))(params, obs)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6),
        outputs,
        network.apply(params, obs),
    )
    paths = layer_paths(network)
    assert set(activity) == {*paths["actor"], *paths["critic"]}
    p = jax.tree.map(np.asarray, params["params"])
    images = np.pad(np.asarray(obs).reshape(6, 5, 5, 2), ((0, 0), (1, 1), (1, 1), (0, 0)))
    torso = p["actor_torso"]
    windows = np.lib.stride_tricks.sliding_window_view(images, (3, 3), (1, 2))
    maps = np.einsum("nijchw,hwco->nijo", windows, torso["Conv_0"]["kernel"])
    maps = np.maximum(maps + torso["Conv_0"]["bias"], 0)
    hidden = maps.reshape(6, -1) @ torso["Dense_0"]["kernel"] + torso["Dense_0"]["bias"]
    hidden = np.maximum(hidden, 0)
    logits = hidden @ p["policy_head"]["kernel"] + p["policy_head"]["bias"]
    for name, values in (
        ("actor_torso/Conv_0", maps),
        ("actor_torso/Dense_0", hidden),
        ("policy_head", np.abs(logits)),
    ):
        mean = values.reshape(-1, values.shape[-1]).mean(0)
        np.testing.assert_allclose(activity[f"params/{name}"], mean, rtol=1e-4, atol=1e-6)


def test_kernels_are_orthogonal_and_scaled_by_their_gain(key):
    """Orthonormal columns, or rows where there are fewer, times the layer's gain; zero biases."""
    network = ActorCritic(NetworkConfig(hidden=(8, 6), channels=(4,)), 3, True, 3)
    params = flatten_dict(initial_params(network, key, jnp.zeros((5, 5, 2)))["params"])
    gains = {"policy_head": 0.01, "value_head": 1.0}
    for (module, *_, leaf), value in params.items():
        if leaf == "bias":
            np.testing.assert_array_equal(value, 0.0)
            continue
        matrix = np.asarray(value, np.float64).reshape(-1, value.shape[-1])
        matrix = matrix if matrix.shape[0] >= matrix.shape[1] else matrix.T
        gain = gains.get(module, np.sqrt(2))
        # QR in float32 keeps columns orthonormal to a few roundings of their hundred entries.
        np.testing.assert_allclose(matrix.T @ matrix / gain**2, np.eye(matrix.shape[1]), atol=1e-5)
    torsos = [params[torso, "Dense_1", "kernel"] for torso in ("actor_torso", "critic_torso")]
    assert np.abs(torsos[0] - torsos[1]).max() > 0.1
