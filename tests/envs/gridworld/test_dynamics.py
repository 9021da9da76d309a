"""The rules of grid worlds against a simulator in plain Python, and where objects come back."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from metarl.envs.gridworld import Item, level_from_map
from metarl.envs.gridworld.cells import distinct_cells
from metarl.envs.gridworld.dynamics import GridDraws, GridState, advance, draw, start
from tests.quick_compilation import quick_jit

from .simulator import EVENTFUL, Plain, free_cells, host, pick, play, to_cell

LEVELS, STEPS = 1000, 10


@pytest.fixture(scope="module")
def recorded():
    """A thousand different levels in one vmap; random objects in some, random starts in some."""
    key_levels, key_start, key_draws, key_actions = jax.random.split(jax.random.key(0), 4)

    @quick_jit
    def program():
        levels = jax.vmap(EVENTFUL.sample)(jax.random.split(key_levels, LEVELS))
        levels = levels._replace(
            random_objects=jnp.arange(LEVELS) % 2 == 1, random_start=jnp.arange(LEVELS) % 3 == 1
        )
        states = jax.vmap(start)(jax.random.split(key_start, LEVELS), levels)
        draws = jax.vmap(lambda k, level: jax.vmap(draw, (0, None))(k, level))(
            jax.random.split(key_draws, (LEVELS, STEPS)), levels
        )
        actions = jax.random.randint(key_actions, (LEVELS, STEPS), 0, 5)

        def act(states, inputs):
            outcome = jax.vmap(advance)(inputs[0], states, inputs[1], levels)
            return outcome.state, outcome

        by_time = jax.tree.map(lambda x: jnp.moveaxis(x, 1, 0), (draws, actions))
        _, outcomes = jax.lax.scan(act, states, by_time)
        return levels, states, draws, actions, outcomes

    levels, states, draws, actions, outcomes = program()
    outcomes = jax.tree.map(lambda x: np.moveaxis(np.asarray(x), 0, 1), outcomes)
    return host(levels), host(states), host(draws), np.asarray(actions), outcomes


def plain(level, state):
    objects = [
        to_cell(level, flat) if there else None
        for flat, there in zip(state.objects, state.present, strict=True)
    ]
    return Plain(int(state.time), to_cell(level, state.agent), tuple(objects))


def test_a_thousand_different_levels_in_one_vmap_follow_the_rules(recorded):
    levels, states, draws, actions, outcomes = recorded
    seen = {"reward": 0, "terminated": 0, "truncated": 0, "back": 0}
    for n in range(LEVELS):
        level = pick(levels, n)
        state = plain(level, pick(states, n))
        for t in range(STEPS):
            before = state
            state, reward, ended, cut = play(level, state, pick(pick(draws, n), t), actions[n, t])
            assert plain(level, pick(pick(outcomes.state, n), t)) == state
            # At most a few float32 additions.
            assert outcomes.reward[n, t] == pytest.approx(reward, abs=1e-6)
            assert (outcomes.terminated[n, t], outcomes.truncated[n, t]) == (ended, cut)
            seen["reward"] += reward != 0
            seen["terminated"] += ended
            seen["truncated"] += cut
            seen["back"] += any(
                a is None and b is not None
                for a, b in zip(before.objects, state.objects, strict=True)
            )
    # The comparison says nothing unless everything happened often.
    assert min(seen.values()) > 100, seen


def test_episodes_start_where_the_level_says(recorded):
    levels, states, *_ = recorded
    for n in range(LEVELS):
        level, state = pick(levels, n), plain(pick(levels, n), pick(states, n))
        open_, there = free_cells(level), [cell for cell in state.objects if cell is not None]
        assert state.time == 0
        assert state.agent in open_
        assert set(there) <= open_
        assert len(there) == len(set(there)) == level.exists.sum()
        if level.random_objects:
            assert state.agent not in there
        else:
            assert there == [tuple(cell) for cell in level.objects[level.exists]]
        if not level.random_start:
            assert state.agent == tuple(level.start)


def test_distinct_cells_are_a_uniform_sequence():
    open_ = jnp.array([1, 1, 0, 0, 1, 0, 1, 1, 0], bool)
    keys = jax.random.split(jax.random.key(1), 20_000)
    drawn = np.asarray(quick_jit(jax.vmap(lambda k: distinct_cells(k, open_, 6)))(keys))
    assert np.all(drawn[:, 5] == -1)  # five cells are open
    assert np.all(np.sort(drawn[:, :5]) == np.flatnonzero(open_))
    sequences, counts = np.unique(drawn[:, :3], axis=0, return_counts=True)
    assert len(sequences) == 5 * 4 * 3
    assert stats.chisquare(counts).pvalue > 1e-3


def test_objects_come_back_uniformly_in_the_vacant_cells():
    """All cells but walls, agent and the other object; the first two cells are nothing special."""
    level = level_from_map(
        """
        ...A#
        #.##.
        b....
        """,
        {"b": Item(1.0, 0.0, 1.0)},
        horizon=9,
    )
    level = level._replace(  # a second object, so that one cell is occupied by it
        objects=jnp.array([[2, 0], [1, 1]]),
        exists=jnp.ones(2, bool),
        rewards=jnp.ones(2),
        p_terminate=jnp.zeros(2),
        p_respawn=jnp.ones(2),
        random_objects=jnp.bool_(True),
    )
    state = GridState(jnp.int32(0), jnp.int32(3), jnp.array([10, 6]), jnp.array([False, True]))

    @quick_jit
    @jax.vmap
    def respawn(key):
        return advance(draw(key, level), state, 4, level).state

    after = respawn(jax.random.split(jax.random.key(2), 20_000))
    assert np.all(after.present)
    assert np.all(after.objects[:, 1] == 6)
    cells, counts = np.unique(after.objects[:, 0], return_counts=True)
    assert cells.tolist() == [0, 1, 2, 9, 10, 11, 12, 13, 14]
    assert stats.chisquare(counts).pvalue > 1e-3


def test_an_object_without_a_vacant_cell_stays_away():
    level = level_from_map("Aab", {"a": Item(1.0), "b": Item(1.0)}, 9, random_objects=True)
    level = level._replace(p_respawn=jnp.ones(2))
    # The agent will stand in cell 1, object 1 lies in cell 2: one vacant cell for object 0.
    state = GridState(jnp.int32(0), jnp.int32(0), jnp.array([1, 2]), jnp.array([False, True]))
    draws = GridDraws(jnp.float32(0.5), jnp.zeros(2), jnp.array([1, 2, 0]))
    right = quick_jit(lambda cells: advance(draws._replace(cells=cells), state, 3, level).state)
    after = right(draws.cells)
    assert after.present.tolist() == [True, True]
    assert after.objects.tolist() == [0, 2]
    assert right(jnp.array([1, 2, -1])).present.tolist() == [False, True]


def test_standing_on_an_object_that_comes_back_collects_it_again():
    level = level_from_map("Ag", {"g": Item(2.0, p_respawn=1.0)}, horizon=5)

    @quick_jit
    def play_on(keys, actions):
        def act(state, inputs):
            outcome = advance(draw(inputs[0], level), state, inputs[1], level)
            return outcome.state, outcome

        return jax.lax.scan(act, start(keys[0], level), (keys, actions))[1]

    outcome = play_on(jax.random.split(jax.random.key(0), 5), jnp.array([3, 4, 4, 4, 4]))
    assert outcome.reward.tolist() == [2.0, 0.0, 2.0, 0.0, 2.0]
    assert outcome.truncated.tolist() == [False] * 4 + [True]
    assert not outcome.terminated.any()
