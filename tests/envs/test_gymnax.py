"""The gymnax adapter, where its meaning of done matters."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from metarl.core.errors import ConfigError
from metarl.envs import gymnax, make


def flags_of(env, actions):
    """Terminated and truncated at every step, without autoreset, `[T]` each."""

    @jax.jit
    def run(params):
        key = jax.random.key(0)
        _, state = env.reset(key, params)

        def act(state, action):
            step = env.step(key, state, action, params)
            return step.state, (step.terminated, step.truncated)

        return jax.lax.scan(act, state, actions)[1]

    return np.asarray(run(env.default_params))


def test_an_end_at_the_limit_is_an_end():
    # The sea is 5 deep and its limit is 5 steps.
    terminated, truncated = flags_of(make("gymnax/DeepSea-bsuite", size=5), jnp.zeros(5, int))
    np.testing.assert_array_equal(terminated, [0, 0, 0, 0, 1])
    assert not truncated.any()
    terminated, truncated = flags_of(make("gymnax/SimpleBandit-bsuite"), jnp.zeros(1, int))
    assert terminated.all()
    assert not truncated.any()


def test_a_limit_is_no_end():
    env = make("gymnax/Pendulum-v1", max_steps_in_episode=4)
    terminated, truncated = flags_of(env, jnp.zeros((4, 1)))
    assert not terminated.any()
    np.testing.assert_array_equal(truncated, [0, 0, 0, 1])


def test_a_fallen_pole_is_an_end():
    # Pushed one way only, the pole of CartPole falls within a dozen steps.
    terminated, truncated = flags_of(make("gymnax/CartPole-v1"), jnp.ones(15, int))
    assert terminated.any()
    assert not truncated.any()


def test_spaces_of_another_kind_are_refused():
    import gymnax as library
    from gymnax.environments import spaces

    class Strange(type(library.make("CartPole-v1")[0])):
        def observation_space(self, params):
            return spaces.Dict({"x": spaces.Discrete(2)})

    env = Strange()
    with pytest.raises(ConfigError, match="neither Discrete nor Box"):
        gymnax.adapt(env, env.default_params, "mine")


def test_an_environment_of_your_own_is_adapted():
    import gymnax as library

    env, params = library.make("MountainCar-v0")
    adapted = gymnax.adapt(env, params.replace(max_steps_in_episode=2), "mine/car")
    assert adapted.name == "mine/car"
    np.testing.assert_array_equal(flags_of(adapted, jnp.zeros(2, int))[1], [0, 1])


def test_a_state_with_loose_types_keeps_those_of_its_reset(key):
    """Python numbers in a state would give a second type, and a second compilation."""
    import gymnax as library

    class Loose(type(library.make("MountainCar-v0")[0])):
        def step_env(self, key, state, action, params):
            obs, state, reward, done, info = super().step_env(key, state, action, params)
            return obs, state.replace(velocity=0.0, time=1), reward, done, info

    env = gymnax.adapt(Loose(), Loose().default_params, "mine/loose")
    _, before = env.reset(key, env.default_params)
    after = env.step(key, before, jnp.int32(0), env.default_params).state
    for old, new in zip(jax.tree.leaves(before), jax.tree.leaves(after), strict=True):
        assert (old.shape, old.dtype, old.weak_type) == (new.shape, new.dtype, new.weak_type)
