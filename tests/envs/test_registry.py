"""Environments by name: what is listed, what is refused, what is imported."""

import subprocess
import sys
import urllib.error

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from metarl.core.errors import ConfigError
from metarl.envs import Box, Discrete, chains, gridworld, make, registered


def test_registered_names_are_unique_and_prefixed():
    names = registered()
    assert len(set(names)) == len(names) == 26 + 11 + len(gridworld.MODES) + 5
    assert {name.split("/")[0] for name in names} == {"gymnax", "brax", "grid", "chain"}
    assert {f"chain/{name}" for name in chains.VARIANTS} < set(names)


def test_importing_and_listing_loads_no_environment_library_and_no_backend():
    code = (
        "import sys, metarl.envs, metarl.envs.wrappers; metarl.envs.registered();"
        "from jax._src import xla_bridge;"
        "print({'gymnax', 'brax'} & set(sys.modules), xla_bridge.backends_are_initialized())"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.stdout.split() == ["set()", "False"], result.stderr


@pytest.mark.parametrize(
    ("name", "suggestion"),
    [
        ("CartPole-v1", "gymnax/CartPole-v1"),
        ("cartpole", "gymnax/CartPole-v1"),
        ("gymnax/CartPole-v0", "gymnax/CartPole-v1"),
        ("gymnax/breakout-minatar", "gymnax/Breakout-MinAtar"),
        ("Ant", "brax/ant"),
        ("brax/half_cheetah", "brax/halfcheetah"),
        ("gymnax/ant", "brax/ant"),
        ("grid/long-dense", "grid/long_dense"),
        ("grid/lomg", "grid/long"),
        ("chain/lomg", "chain/long"),
    ],
)
def test_an_unknown_name_suggests_the_nearest(name, suggestion):
    with pytest.raises(ConfigError, match="Did you mean") as error:
        make(name)
    assert f"{name!r}" in str(error.value)
    assert f"Did you mean {suggestion!r}?" in str(error.value)


def test_a_hopeless_name_lists_what_there_is():
    with pytest.raises(ConfigError, match="Permitted") as error:
        make("xyzzy")
    assert "Did you mean" not in str(error.value)
    assert all(name in str(error.value) for name in registered())


def test_options_reach_the_constructor_and_the_parameters():
    env = make("gymnax/DeepSea-bsuite", size=5, unscaled_move_cost=0.5)
    assert env.observation_space.shape == (5, 5)
    assert env.default_params.unscaled_move_cost == 0.5
    assert env.default_params.max_steps_in_episode == 5
    env = make("gymnax/Acrobot-v1", available_torque=[-2, 0, 2])
    np.testing.assert_array_equal(env.default_params.available_torque, [-2.0, 0.0, 2.0])
    assert env.default_params.available_torque.dtype == jnp.float32


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("gymnax/CartPole-v1", {"gravty": 3.0}, "'gravty'.*Did you mean 'gravity'"),
        ("gymnax/DeepSea-bsuite", {"sise": 3}, "Did you mean 'size'"),
        ("gymnax/CartPole-v1", {"max_steps_in_episode": 2.5}, "int32 of shape"),
        ("gymnax/CartPole-v1", {"gravity": [1.0, 2.0]}, "float32 of shape"),
        ("gymnax/CartPole-v1", {"gravity": "strong"}, "'strong'"),
        ("gymnax/FrozenLake-misc", {"map_name": "9x9"}, "refused its options"),
        ("gymnax/MetaMaze-misc", {"maze_size": 8}, "refused its options"),
        ("brax/ant", {"backend": "springy"}, "Did you mean 'spring'"),
        ("grid/debug", {"observaton": "image"}, "Did you mean 'observation'"),
        ("grid/debug", {"observation": "imaeg"}, "Did you mean 'image'"),
        ("grid/rand_tiny", {"observation": "tabular"}, "random cells"),
        ("chain/short", {"length": 3}, "'length'.*none"),
    ],
)
def test_bad_options_are_refused(name, options, message):
    with pytest.raises(ConfigError, match=message):
        make(name, **options)


def test_brax_that_is_not_installed_is_said_so(monkeypatch):
    for module in [name for name in sys.modules if name.split(".")[0] == "brax"]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "brax", None)  # how Python marks "cannot be imported"
    with pytest.raises(ConfigError, match=r"pip install metarl\[brax\]"):
        make("brax/ant")


def test_a_data_set_that_cannot_be_downloaded_is_said_so(monkeypatch):
    def offline(*_):
        raise urllib.error.URLError("no network")

    monkeypatch.setattr("gymnax.utils.load_mnist.load_mnist", offline)
    with pytest.raises(ConfigError, match=r"data set.*no network"):
        make("gymnax/MNISTBandit-bsuite")


def test_spaces_are_translated():
    assert make("gymnax/CartPole-v1").action_space == Discrete(2)
    # gymnax bounds the positions but not the velocities (largest float): the outermost bound holds.
    assert make("gymnax/CartPole-v1").observation_space == Box(-np.inf, np.inf, (4,))
    assert make("gymnax/Pendulum-v1").action_space == Box(-2.0, 2.0, (1,))
    env = make("gymnax/FrozenLake-misc")
    assert env.observation_space == Box(0.0, 1.0, (16,))
    obs, _ = env.reset(jax.random.key(0), env.default_params)
    np.testing.assert_array_equal(obs, np.eye(16)[0])


def test_a_parameter_changes_the_dynamics_under_vmap(key):
    env = make("gymnax/Pendulum-v1")
    gravity = jnp.array([0.0, 10.0])
    params = jax.vmap(lambda g: env.default_params.replace(g=g))(gravity)

    def accelerate(params):
        _, state = env.reset(key, params)
        state = state.replace(theta=jnp.float32(np.pi / 2), theta_dot=jnp.float32(0))
        return env.step(key, state, jnp.zeros(1), params).state.theta_dot

    # Pendulum: theta_ddot = 3 g sin(theta) / (2 l), over dt = 0.05; some five roundings.
    np.testing.assert_allclose(jax.vmap(accelerate)(params), 1.5 * gravity * 0.05, rtol=1e-6)
