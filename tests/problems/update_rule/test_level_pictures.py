"""An episode on a level where every step is known, and pictures whose every cell is known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from metarl.envs.gridworld import ACTIONS, Item, LevelShape, grid_world, level_from_map
from metarl.envs.gridworld.render import AGENT, WALL
from metarl.problems.update_rule.level_pictures import episode, episode_figure, levels_figure

# The goal is there again after every step: who went on after the end would be paid once more.
ITEMS = {"g": Item(1.0, p_terminate=1.0, p_respawn=1.0), "b": Item(-0.25)}
CORRIDOR = level_from_map("A.bg", ITEMS, horizon=6)
RIGHT, STAY = ACTIONS.index("right"), ACTIONS.index("stay")


@pytest.fixture(scope="module")
def env():
    return grid_world(CORRIDOR, "index")


def always(action):
    return lambda key, obs: jnp.int32(action)


def test_an_episode_ends_where_it_ends(env, key):
    """Three steps to the goal, past an object that costs a quarter."""
    states, total = episode(env, CORRIDOR, always(RIGHT), key, 6)
    np.testing.assert_array_equal(states.agent, [0, 1, 2, 3])
    np.testing.assert_array_equal(states.time, [0, 1, 2, 3])
    assert total == 0.75


@pytest.mark.parametrize("steps", [2, 6])
def test_an_episode_without_an_end_is_cut(env, key, steps):
    states, total = episode(env, CORRIDOR, always(STAY), key, steps)
    np.testing.assert_array_equal(states.agent, np.zeros(steps + 1))
    np.testing.assert_array_equal(states.time, np.arange(steps + 1))
    assert total == 0.0


def test_the_horizon_is_an_end_too(env, key):
    states, _ = episode(env, CORRIDOR, always(STAY), key, 9)
    np.testing.assert_array_equal(states.time, np.arange(7))


def test_the_policy_sees_the_state_that_it_acts_in(env, key):
    """It goes right from the first cell, all objects there (number 4 (1 + 2) of the states)."""
    states, total = episode(
        env, CORRIDOR, lambda key, obs: jnp.where(obs == 12, RIGHT, STAY), key, 6
    )
    np.testing.assert_array_equal(states.agent, [0, 1, 1, 1, 1, 1, 1])
    assert total == 0.0


def _pixel(image, row, column, cell):
    return image[row * cell + cell // 2, column * cell + cell // 2]


def test_a_film_strip_shows_where_the_agent_was(env, key):
    figure = episode_figure(env, CORRIDOR, always(RIGHT), key)
    assert figure.get_suptitle() == "An episode of 3 steps, return 0.75"
    (ax,) = figure.axes
    (image,) = (np.asarray(x.get_array()) for x in ax.images)
    # Four frames beside each other, each of four cells of 12 pixels, with gaps of 6.
    width = 4 * 12 + 1 + 6
    assert image.shape[1] == 4 * width + 6
    for frame in range(4):
        for column in range(4):
            pixel = image[6 + 6, 6 + frame * width + 12 * column + 6]
            assert np.array_equal(pixel, AGENT) is (frame == column)


def test_levels_are_drawn_from_the_distribution(key):
    """Two levels, equally likely: eight pictures show both of them, and nothing else."""
    shape = LevelShape(2, 3, 1)
    one, other = (
        level_from_map(text, ITEMS, horizon=3, shape=shape) for text in ("A.g\n#..", "g..\n.#A")
    )

    def sample(key):
        first = jax.random.bernoulli(key)
        return jax.tree.map(lambda a, b: jnp.where(first, a, b), one, other)

    figure = levels_figure(grid_world(one).replace(sample_params=sample), key, count=8)
    images = [np.asarray(ax.images[0].get_array()) for ax in figure.axes]
    assert len(images) == 8
    seen = set()
    for image in images:
        agents = {(r, c) for r in range(2) for c in range(3) if _is(image, r, c, AGENT)}
        walls = {(r, c) for r in range(2) for c in range(3) if _is(image, r, c, WALL)}
        seen.add((*agents, *walls))
    assert seen == {((0, 0), (1, 0)), ((1, 2), (1, 1))}


def _is(image, row, column, colour):
    return np.array_equal(_pixel(image, row, column, 20), colour)
