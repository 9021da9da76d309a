"""What a tensor is, for any tree and for actor-critics; clipping network by network."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from metarl.core.errors import ConfigError
from metarl.networks.actor_critic import ActorCritic, NetworkConfig, layer_paths
from metarl.optimizers.parameters import (
    ParameterInfo,
    clip_by_network_norm,
    describe,
    leaf_paths,
)

TREE = {
    "a": {"kernel": jnp.ones((2, 3)), "bias": jnp.ones(3)},
    "b": [jnp.ones(4), jnp.ones(())],
    "c": jnp.ones(2),
}


def by_path(params, info):
    return dict(zip(leaf_paths(params), info, strict=True))


def test_the_default_takes_containers_for_modules_in_order():
    info = by_path(TREE, describe(TREE))
    assert list(info) == ["a/bias", "a/kernel", "b/0", "b/1", "c"]
    assert [about.layer for about in info.values()] == [0, 0, 0.5, 0.5, 1]
    assert {(a.network, a.noisy, a.units) for a in info.values()} == {("", False, None)}
    assert describe(jnp.ones(3)) == (ParameterInfo("", 0.0),)
    assert describe({}) == ()


def test_networks_are_data():
    networks = {"x": ("c", "a"), "y": ("c", "b/1", "b/0")}
    info = by_path(TREE, describe(TREE, networks, noisy=("y",), measured=True))
    assert info["a/kernel"] == info["a/bias"] == ParameterInfo("x", 1.0, False, "a")
    # shared with y, where it is an input as well; a tensor by itself has no measured units
    assert info["c"] == ParameterInfo("x", 0.0, False, None)
    assert info["b/1"] == ParameterInfo("y", 0.5, True, None)
    assert info["b/0"] == ParameterInfo("y", 1.0, True, None)


def actor_critic(discrete, obs_shape=(4,), **settings):
    network = ActorCritic(NetworkConfig(**settings), 2, discrete, len(obs_shape))
    params = jax.eval_shape(lambda: network.init(jax.random.key(0), jnp.zeros(obs_shape)))
    info = describe(params, layer_paths(network), noisy=("actor",), measured=True)
    return {
        path.removeprefix("params/"): (about.network, round(about.layer, 3), about.noisy)
        for path, about in by_path(params, info).items()
        if not path.endswith("bias")
    }


def test_actor_critics():
    assert actor_critic(discrete=True, hidden=(8, 8)) == {
        "actor_torso/Dense_0/kernel": ("actor", 0, True),
        "actor_torso/Dense_1/kernel": ("actor", 0.5, True),
        "policy_head/kernel": ("actor", 1, True),
        "critic_torso/Dense_0/kernel": ("critic", 0, False),
        "critic_torso/Dense_1/kernel": ("critic", 0.5, False),
        "value_head/kernel": ("critic", 1, False),
    }
    gaussian = actor_critic(discrete=False, hidden=(8, 8))
    # log_std counts as the last layer of the actor
    assert gaussian["log_std"] == ("actor", 1, True)
    assert gaussian["policy_head/kernel"] == ("actor", 0.667, True)
    assert gaussian["value_head/kernel"] == ("critic", 1, False)
    shared = actor_critic(True, (5, 5, 2), hidden=(8,), channels=(3,), shared_torso=True)
    assert shared["actor_torso/Conv_0/kernel"] == ("actor", 0, True)
    assert shared["actor_torso/Dense_0/kernel"] == ("actor", 0.5, True)
    assert shared["value_head/kernel"] == ("critic", 1, False)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (({"x": ("a", "b")},), "'c' lies in no module"),
        (({"x": ("a", "b", "c", "d")},), "No parameters lie in the module 'd'"),
        (({"actor": ("a", "b", "c")}, ("acter",)), "Did you mean 'actor'"),
    ],
)
def test_bad_descriptions_are_refused(arguments, message):
    with pytest.raises(ConfigError, match=message):
        describe(TREE, *arguments)


def test_each_network_is_clipped_by_itself():
    info = describe(TREE, {"x": ("a",), "y": ("b", "c")})
    tx = clip_by_network_norm(0.5, info)
    gradient = jax.tree.map(lambda x: 3.0 * x, TREE)
    gradient["b"] = jax.tree.map(lambda x: 0.01 * x, gradient["b"])
    gradient["c"] = 0.01 * gradient["c"]
    clipped, _ = tx.update(gradient, tx.init(TREE))
    # nine threes have norm 9; seven times 0.03 lie below 0.5
    np.testing.assert_allclose(clipped["a"]["kernel"], 3 * 0.5 / 9, rtol=1e-6)
    np.testing.assert_array_equal(clipped["b"][0], gradient["b"][0])
    np.testing.assert_array_equal(clipped["c"], gradient["c"])
