"""Pictures of levels: what is where, in which colour."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from metarl.core.errors import ConfigError
from metarl.envs.gridworld import GridState, Item, LevelShape, level_from_map, render
from metarl.envs.gridworld.render import render_episode

CELL = 12


@pytest.fixture(scope="module")
def level():
    items = {"g": Item(1.0), "h": Item(0.2), "b": Item(-1.0)}
    return level_from_map("A#g\nhb.", items, horizon=9, shape=LevelShape(3, 5, 4))


def centre(image, row, column):
    return image[row * CELL + CELL // 2, column * CELL + CELL // 2].astype(int)


def saturation(pixel):
    return pixel.max() - pixel.min()


def test_a_level_shows_what_it_holds(level):
    image = render(level, cell=CELL)
    assert image.shape == (2 * CELL + 1, 3 * CELL + 1, 3)
    assert image.dtype == np.uint8
    agent, wall, good = (centre(image, 0, c) for c in range(3))
    weak, bad, floor = (centre(image, 1, c) for c in range(3))
    assert agent.max() < 40
    assert saturation(wall) < 20
    assert 60 < wall.mean() < 130
    assert good[2] > good[0] + 100  # blue
    assert bad[0] > bad[2] + 100  # orange
    assert weak[2] > weak[0] + 20
    assert saturation(weak) < saturation(good)
    assert floor.min() > 240


def test_a_state_shows_the_agent_and_what_is_left(level):
    state = GridState(
        jnp.int32(3), jnp.int32(7), jnp.array([2, 5, 6, 0]), jnp.array([True, False, True, False])
    )
    image = render(level, state, cell=CELL)
    assert centre(image, 1, 2).max() < 40  # the agent, in flat cell 7 of rows of five
    assert centre(image, 0, 0).min() > 240  # not at the start any more
    assert saturation(centre(image, 0, 2)) > 100  # present
    assert centre(image, 1, 0).min() > 240  # absent: its outline is left
    edge = image[CELL + CELL // 2, 3].astype(int)
    assert saturation(edge) > 20


def test_an_episode_is_a_strip_of_frames(level):
    states = GridState(
        np.arange(9), np.zeros(9, int), np.tile([2, 5, 6, 0], (9, 1)), np.ones((9, 4), bool)
    )
    strip = render_episode(level, jax.tree.map(jnp.asarray, states), cell=6, columns=4)
    # Three rows of four frames of 13 by 19 pixels, with gaps of 3.
    assert strip.shape == (3 * (13 + 3) + 3, 4 * (19 + 3) + 3, 3)
    np.testing.assert_array_equal(strip[3:16, 3:22], render(level, cell=6))
    assert np.all(strip[2 * 16 + 3 :, 2 * 22 :] == 255)  # nine frames, twelve places
    short = render_episode(level, states, cell=6, columns=4, most=3)
    assert short.shape == (13 + 6, 3 * 22 + 3, 3)


def test_bad_sizes_are_refused(level):
    with pytest.raises(ConfigError, match="cell"):
        render(level, cell=3)
