"""What is seen of a grid world, and making one by name; the protocol is the conformance table's."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from metarl.core.errors import ConfigError
from metarl.envs import Discrete, make
from metarl.envs.gridworld import GridState, Item, LevelShape, grid_world, level_from_map
from tests.quick_compilation import quick_jit

ITEMS = {"g": Item(1.0), "b": Item(-1.0)}
MAP = """
    A#g
    .b.
"""


@pytest.fixture(scope="module")
def level():
    return level_from_map(MAP, ITEMS, horizon=5, shape=LevelShape(3, 4, 3))


def state(agent, present):
    return GridState(jnp.int32(0), jnp.int32(agent), jnp.array([2, 5, 0]), jnp.array(present))


def see(level, *states):
    """What is seen, in every way, after staying; nothing is collected or comes back."""
    envs = {name: grid_world(level, name) for name in ("tabular", "index", "image")}

    @quick_jit
    def program(states):
        return {
            name: [env.step(jax.random.key(0), s, jnp.int32(4), level).obs for s in states]
            for name, env in envs.items()
        }

    return jax.tree.map(np.asarray, program([state(*s) for s in states]))


def test_the_tabular_observation_numbers_the_states(level):
    numbers = {
        (0, (True, True, False)): 0 + 12 * 3,
        (4, (False, True, False)): 4 + 12 * 2,
        (4, (True, False, False)): 4 + 12 * 1,
        (6, (False, False, False)): 6,
    }
    seen = see(level, *numbers)
    np.testing.assert_array_equal(seen["tabular"], np.eye(12 * 8)[list(numbers.values())])
    np.testing.assert_array_equal(seen["index"], list(numbers.values()))
    assert seen["index"][0].dtype == np.int32
    assert grid_world(level, "index").observation_space == Discrete(96)


def test_the_image_has_a_channel_for_agent_walls_and_every_object(level):
    image = see(level, (4, (True, False, False)))["image"][0]
    assert image.shape == (3, 4, 5)
    np.testing.assert_array_equal(np.argwhere(image[..., 0]), [[1, 0]])
    # The wall, the column beyond the width and the row beyond the height.
    closed = [[0, 1], [0, 3], [1, 3], [2, 0], [2, 1], [2, 2], [2, 3]]
    np.testing.assert_array_equal(np.argwhere(image[..., 1]), closed)
    np.testing.assert_array_equal(np.argwhere(image[..., 2]), [[0, 2]])
    assert not image[..., 3:].any()


def test_a_mode_by_name_is_a_distribution_with_one_level_as_default():
    env = make("grid/debug")
    assert env.name == "grid/debug"
    assert env.observation_space.shape == (16 * 4,)
    again = make("grid/debug", observation="image")
    assert again.observation_space.shape == (4, 4, 4)
    for one, other in zip(env.default_params, again.default_params, strict=True):
        np.testing.assert_array_equal(one, other)
    sample = quick_jit(env.sample)
    drawn = [sample(jax.random.key(seed)) for seed in (1, 2)]
    assert not np.array_equal(drawn[0].p_terminate, drawn[1].p_terminate)
    assert np.isfinite(env.optimal_return(env.default_params))


def test_random_objects_are_seen_as_images_only():
    env = make("grid/rand_tiny")
    assert env.observation_space.shape == (3, 3, 4)
    assert env.optimal_return is None
    for observation in ("tabular", "index"):
        with pytest.raises(ConfigError, match=r"random cells.*'image'"):
            grid_world(env.default_params, observation)


def test_a_level_that_cannot_be_played_makes_no_environment(level):
    with pytest.raises(ConfigError, match="horizon"):
        grid_world(level._replace(horizon=jnp.int32(0)))
