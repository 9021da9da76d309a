"""Sampled levels: valid for every key, and distributed as they say."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage, stats

from metarl.core.errors import ConfigError
from metarl.envs.gridworld import (
    MODES,
    DrawnWalls,
    GivenItems,
    Item,
    LevelDistribution,
    LevelMixture,
    LevelShape,
    MazeWalls,
    RandomItems,
    ScatteredWalls,
    check_level,
    mode,
    shape_of,
)
from tests.quick_compilation import quick_jit

from .simulator import host, pick

# The hardest cases: no free cell at all; one object a cell; reachable cells that may not suffice.
FULL = LevelDistribution((5, 9), RandomItems((1, 3)), (2, 3), layout=ScatteredWalls(9))
CROWDED = LevelDistribution((5, 9), RandomItems((3, 3)), (2, 2))
REACHABLE = LevelDistribution(
    (5, 9), RandomItems((1, 3)), (3, 5), (4, 6), ScatteredWalls(12), reachable=True
)
SAMPLED = {name: MODES[name] for name in ("debug", "all", "mazes", "rand_small")}
OTHERS = {name: levels for name, levels in MODES.items() if name not in SAMPLED}
OWN = {"full": FULL, "crowded": CROWDED, "reachable": REACHABLE}


def draw(levels, count, seed=0):
    sample = quick_jit(jax.vmap(levels.sample))
    return host(sample(jax.random.split(jax.random.key(seed), count)))


def invalid(batch):
    """Which levels of a batch break what the module promises; the fast half of `check_level`."""
    n = np.arange(len(batch.horizon))[:, None]
    rows, columns = np.ogrid[: batch.walls.shape[1], : batch.walls.shape[2]]
    inside = (rows < batch.height[:, None, None]) & (columns < batch.width[:, None, None])
    places = np.concatenate([batch.start[:, None], batch.objects], axis=1)
    there = np.concatenate([np.ones((len(n), 1), bool), batch.exists], axis=1)
    row, column = places[..., 0], places[..., 1]
    closed = there & ~(inside & ~batch.walls)[n, row, column]
    flat = np.where(there, row * batch.walls.shape[2] + column, -1 - np.arange(there.shape[1]))
    ordered = np.sort(flat, axis=1)
    shared = ordered[:, 1:] == ordered[:, :-1]
    odds = np.concatenate([batch.p_terminate, batch.p_respawn], axis=1)
    return (
        closed.any(axis=1)
        | shared.any(axis=1)
        | ((odds < 0) | (odds > 1)).any(axis=1)
        | ~np.isfinite(batch.rewards).all(axis=1)
        | (batch.horizon < 1)
    )


def test_the_check_of_batches_sees_invalid_levels():
    batch = draw(CROWDED, 4)
    taken = batch.objects.copy()
    taken[1, 0] = taken[1, 1]
    walls = batch.walls.copy()
    walls[(2, *batch.start[2])] = True
    broken = batch._replace(objects=taken, walls=walls)
    assert invalid(batch).tolist() == [False] * 4
    assert invalid(broken).tolist() == [False, True, True, False]


def components(level):
    """Numbers of the connected parts of the free cells, 0 for walls."""
    walls = level.walls.copy()
    walls[int(level.height) :] = walls[:, int(level.width) :] = True
    return ndimage.label(~walls)[0]


@pytest.mark.parametrize(
    "name",
    [*SAMPLED, *OWN, *(pytest.param(name, marks=pytest.mark.slow) for name in OTHERS)],
)
@pytest.mark.sampled(3)
def test_every_level_is_valid_with_agent_and_objects_apart(name):
    levels = {**MODES, **OWN}[name]
    batch = draw(levels, 4000)
    assert not invalid(batch).any()
    for i in range(20):
        assert shape_of(check_level(pick(batch, i))) == levels.shape
    shapes = jax.eval_shape(levels.sample, jax.random.key(0))
    assert not any(leaf.weak_type for leaf in shapes)


def test_the_numbers_of_all_are_distributed_as_published():
    batch = draw(MODES["all"], 4000)
    assert batch.horizon.min() == 20
    assert 740 < batch.horizon.max() <= 750
    spread = np.log(batch.horizon / 20) / np.log(750 / 20)
    # Rounding to whole steps moves the distribution by half a step in twenty: by less than 0.01.
    assert stats.kstest(spread, "uniform").statistic < 0.03
    assert np.array_equal(batch.height, batch.width)
    for values, low, high in ((batch.height, 4, 10), (batch.exists.sum(axis=1), 1, 5)):
        counts = np.bincount(values)[low : high + 1]
        assert counts.sum() == 4000
        assert stats.chisquare(counts).pvalue > 1e-3
    exists = batch.exists
    assert np.all(exists[:, 0])
    uniform = stats.uniform
    assert stats.kstest(batch.rewards[:, 0], uniform(0, 1).cdf).pvalue > 1e-3
    assert stats.kstest(batch.rewards[:, 1:][exists[:, 1:]], uniform(-1, 2).cdf).pvalue > 1e-3
    for values, low, high in ((batch.p_terminate, 0.01, 1.0), (batch.p_respawn, 0.001, 0.1)):
        cdf = stats.loguniform(low, high).cdf
        assert stats.kstest(values[exists], cdf).pvalue > 1e-3
    largest = batch.height == 10
    assert np.all(batch.walls[largest].sum(axis=(1, 2)) == 15)
    # In a smaller grid, its share of the fifteen.
    smallest = batch.walls[batch.height == 4][:, :4, :4].sum(axis=(1, 2))
    error = smallest.std() / np.sqrt(len(smallest))
    assert abs(smallest.mean() - 15 * 16 / 100) < 4 * error


def test_places_are_uniform():
    levels = LevelDistribution((5, 5), RandomItems((1, 1)), (2, 2), (3, 3))
    batch = draw(levels, 6000)
    pairs = np.concatenate([batch.start, batch.objects[:, 0]], axis=1)
    _, counts = np.unique(pairs, axis=0, return_counts=True)
    assert len(counts) == 6 * 5
    assert stats.chisquare(counts).pvalue > 1e-3


def test_reachable_objects_can_be_reached_where_there_is_room():
    batch, tight = draw(REACHABLE, 600), 0
    for i in range(600):
        level = pick(batch, i)
        parts = components(level)
        own = parts[tuple(level.start)]
        room = np.sum(parts == own) > 3  # agent and three objects, existing or not
        tight += not room
        for cell in level.objects[level.exists]:
            assert not room or parts[tuple(cell)] == own
    assert 0 < tight < 300
    # The same without the setting: the test would see it.
    loose = LevelDistribution((5, 9), RandomItems((1, 3)), (3, 5), (4, 6), ScatteredWalls(12))
    batch, cut_off = draw(loose, 200), 0
    for i in range(200):
        parts = components(pick(batch, i))
        cells = batch.objects[i][batch.exists[i]]
        cut_off += any(parts[tuple(c)] != parts[tuple(batch.start[i])] for c in cells)
    assert cut_off > 10


def test_a_random_maze_is_a_tree():
    """One part, and one passage fewer than cells: exactly one way between any two."""
    walls = np.asarray(
        quick_jit(jax.vmap(lambda k: MazeWalls().sample(k, 7, 9)))(
            jax.random.split(jax.random.key(0), 200)
        )
    )
    for maze in ~walls:
        assert ndimage.label(maze)[1] == 1
        passages = np.sum(maze[1:] & maze[:-1]) + np.sum(maze[:, 1:] & maze[:, :-1])
        assert passages == maze.sum() - 1
        assert maze[::2, ::2].all()
    assert len(np.unique(walls, axis=0)) == 200
    assert not MazeWalls().sample(jax.random.key(0), 1, 3).any()


@pytest.mark.parametrize("name", ["maze_rooms", "maze_spiral", "maze_comb", "longer", "long_dense"])
def test_drawn_maps_are_connected(name):
    levels = MODES[name]
    walls = levels.layout.sample(None, levels.height[1], (levels.width or levels.height)[1])
    assert ndimage.label(~np.asarray(walls))[1] == 1
    assert walls.any()


def test_a_mixture_draws_every_part():
    levels = MODES["tabular"]
    assert levels.shape == LevelShape(13, 13, 7)
    assert levels.lifetime == (2500, 2500)
    assert {part.shape for part in levels.parts} == {levels.shape}
    long = LevelDistribution((7, 7), CROWDED.items, (2, 2))
    horizons = draw(LevelMixture((CROWDED, CROWDED, long)), 600).horizon
    # A level of the third part, or one of the nearly log-uniform rest that has seven steps too.
    assert 200 < np.sum(horizons == 7) < 340
    assert np.sum(horizons == 9) > 20


@pytest.mark.parametrize(
    ("name", "shape", "horizon", "lifetime"),
    [
        ("dense", (11, 11, 4), (500, 500), (2500, 2500)),
        ("sparse", (13, 13, 2), (50, 50), (2500, 2500)),
        ("longer", (7, 9, 7), (2000, 2000), (2500, 2500)),
        ("all_shortlife", (10, 10, 5), (20, 750), (250, 250)),
        ("all_randlife", (10, 10, 5), (20, 750), (50, 250)),
        ("all_vrandlife", (10, 10, 5), (20, 750), (10, 250)),
        ("small", (6, 6, 3), (20, 100), (250, 250)),
        ("rand_very_dense", (11, 11, 1), (2000, 2000), (25_000, 25_000)),
        ("rand_long", (11, 11, 4), (1000, 1000), (25_000, 25_000)),
    ],
)
def test_published_modes(name, shape, horizon, lifetime):
    levels = mode(name)
    assert levels.shape == LevelShape(*shape)
    assert levels.horizon == horizon
    assert levels.lifetime == lifetime
    assert levels.random_objects == name.startswith("rand_")


def test_an_unknown_mode_names_the_nearest():
    with pytest.raises(ConfigError, match=r"mode 'al_randlif'.*Did you mean 'all_randlife'"):
        mode("al_randlif")


ITEMS = GivenItems((Item(1.0),))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: LevelDistribution((0, 5), ITEMS, (3, 3)), "horizon"),
        (lambda: LevelDistribution((9, 5), ITEMS, (3, 3)), r"horizon must be \(low, high\)"),
        (lambda: LevelDistribution((5, 5), ITEMS, (1, 3)), "no room"),
        (lambda: LevelDistribution((5, 5), ITEMS, (3, 5), layout=MazeWalls()), "one size"),
        (lambda: LevelDistribution((5, 5), ITEMS, (3, 3), shape=LevelShape(2, 3, 1)), "do not fit"),
        (lambda: LevelDistribution((5, 5), ITEMS, (3, 3), lifetime=(0, 5)), "lifetime"),
        (lambda: RandomItems((0, 3)), "count"),
        (lambda: RandomItems((1, 3), rewards=(-2.0, -1.0)), "above zero"),
        (lambda: RandomItems((1, 3), p_respawn=(0.0, 0.1)), "p_respawn"),
        (lambda: ScatteredWalls(-1), "count"),
        (lambda: DrawnWalls("..\n."), "one length"),
        (lambda: DrawnWalls("..").sample(None, 2, 2), "cannot fill"),
        (lambda: MazeWalls().sample(jax.random.key(0), 4, 5), "odd sides"),
        (lambda: LevelMixture(()), "parts"),
        (lambda: LevelMixture((MODES["all"], MODES["large"])), "one lifetime"),
    ],
)
def test_bad_settings_are_refused(make, message):
    with pytest.raises(ConfigError, match=message):
        make()


def test_a_larger_shape_pads_the_same_level():
    key = jax.random.key(3)
    padded = LevelDistribution(
        (5, 9), RandomItems((1, 3)), (2, 3), layout=ScatteredWalls(9), shape=LevelShape(5, 4, 11)
    )
    level, own = host(quick_jit(padded.sample)(key)), host(quick_jit(FULL.sample)(key))
    check_level(level)
    assert shape_of(level) == LevelShape(5, 4, 11)
    np.testing.assert_array_equal(level.walls[:3, :3], own.walls)
    assert not level.walls[3:].any()
    assert not level.walls[:, 3:].any()
    np.testing.assert_array_equal(level.start, own.start)
    assert not level.exists[3:].any()
    assert jnp.shape(level.rewards) == (11,)
