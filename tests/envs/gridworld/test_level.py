"""Levels as data: drawing one, and what is refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from metarl.core.errors import ConfigError
from metarl.envs.gridworld import Item, LevelShape, check_level, level_from_map, shape_of
from metarl.envs.gridworld.level import open_cells

ITEMS = {"g": Item(1.0, 0.5, 0.1), "b": Item(-1.0)}
MAP = """
    A.#
    gbg
"""


@pytest.fixture(scope="module")
def level():
    return level_from_map(MAP, ITEMS, horizon=7, shape=LevelShape(3, 4, 5))


def test_a_map_becomes_a_padded_level(level):
    assert shape_of(level) == LevelShape(3, 4, 5)
    assert shape_of(level).states == 12 * 32
    assert (int(level.height), int(level.width), int(level.horizon)) == (2, 3, 7)
    np.testing.assert_array_equal(np.argwhere(level.walls), [[0, 2]])
    np.testing.assert_array_equal(level.start, [0, 0])
    np.testing.assert_array_equal(level.objects[:3], [[1, 0], [1, 1], [1, 2]])
    np.testing.assert_array_equal(level.exists, [True, True, True, False, False])
    np.testing.assert_array_equal(level.rewards, [1.0, -1.0, 1.0, 0.0, 0.0])
    np.testing.assert_allclose(level.p_terminate, [0.5, 0.0, 0.5, 0.0, 0.0])
    np.testing.assert_allclose(level.p_respawn, [0.1, 0.0, 0.1, 0.0, 0.0], rtol=1e-7)
    np.testing.assert_array_equal(open_cells(level), [[1, 1, 0, 0], [1, 1, 1, 0], [0, 0, 0, 0]])
    assert all(isinstance(leaf, jax.Array) and not leaf.weak_type for leaf in level)


def test_a_random_start_needs_no_mark():
    level = level_from_map("#.g", ITEMS, 3, random_start=True)
    assert bool(level.random_start)
    np.testing.assert_array_equal(level.start, [0, 1])


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("A.x", {}, "Unknown objects.*'x'"),
        ("...", {}, "one start"),
        ("A.A", {}, "one start"),
        ("A..\n..", {}, "one length"),
        ("  ", {}, "one length"),
        ("A.g", {"shape": LevelShape(1, 2, 1)}, "does not fit"),
        ("Agg", {"shape": LevelShape(1, 3, 1)}, "does not fit"),
        ("A.g", {"horizon": 0}, "horizon must be positive"),
        ("##", {"random_start": True}, "free cells"),
        ("Agg", {"random_objects": True, "text": "A#g"}, None),
    ],
)
def test_bad_maps_are_refused(text, options, message):
    options = {"horizon": 5, **options}
    text = options.pop("text", text)
    if message is None:
        assert level_from_map(text, ITEMS, **options).random_objects
        return
    with pytest.raises(ConfigError, match=message):
        level_from_map(text, ITEMS, **options)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"height": 4}, r"height must lie in \[1, 3\]"),
        ({"width": 0}, r"width must lie in \[1, 4\]"),
        ({"horizon": 0}, "horizon must be positive"),
        ({"p_terminate": [1.5, 0, 0, 0, 0]}, "p_terminate must lie in"),
        ({"p_respawn": [0, 0, 0, 0, np.nan]}, "p_respawn must lie in"),
        ({"rewards": [np.inf, 0, 0, 0, 0]}, "rewards must be finite"),
        ({"walls": np.ones((3, 4), bool)}, "needs 1 free cells, this one has 0"),
        ({"start": [0, 2]}, r"agent starts in cell \(0, 2\)"),
        ({"start": [2, 0]}, "outside the grid"),  # beyond the height in use
        ({"start": [-1, 0]}, "outside the grid"),
        ({"objects": [[0, 2], [1, 1], [1, 2], [0, 0], [0, 0]]}, "An object lies"),
        ({"objects": [[1, 1], [1, 1], [1, 2], [0, 0], [0, 0]]}, "share a cell"),
        ({"random_objects": True, "exists": np.ones(5, bool)}, "needs 6 free cells"),
    ],
)
def test_levels_that_cannot_be_played_are_refused(level, changes, message):
    assert check_level(level) is level
    changed = {
        name: jnp.asarray(value, getattr(level, name).dtype) for name, value in changes.items()
    }
    with pytest.raises(ConfigError, match=message):
        check_level(level._replace(**changed))


def test_padding_is_not_judged(level):
    objects = level.objects.at[3].set(jnp.array([2, 3]))
    check_level(level._replace(objects=objects))


def test_an_item_out_of_range_is_refused():
    with pytest.raises(ConfigError, match="p_respawn"):
        Item(1.0, p_respawn=-0.1)
    with pytest.raises(ConfigError, match="finite"):
        Item(float("nan"))
