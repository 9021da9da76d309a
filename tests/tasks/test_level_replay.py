"""Level replay against a model of the buffer, and its chances against float64 formulae."""

import math
from types import SimpleNamespace

import hypothesis
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import strategies as st
from scipy import stats

from metarl.core.errors import ConfigError
from metarl.tasks.curricula import LevelBuffer, LevelReplay, LevelReplayConfig
from metarl.tasks.environments import FixedTask, SampledTask

from .buffer_model import BufferModel

SLOTS, CAPACITY = 4, 8
NAN, INF = float("nan"), float("inf")


def level(key):
    """32 random bits tell levels apart; the vector shows that leaves of any shape are kept."""
    bits = jax.random.bits(key)
    return {"id": bits, "vector": jnp.broadcast_to(bits, (3,))}


TASKS = SampledTask(level)


@pytest.fixture(scope="module")
def replay():
    config = LevelReplayConfig(
        capacity=CAPACITY, replay_probability=0.6, staleness=0.3, minimum_fill=0.25
    )
    curriculum = LevelReplay(config, TASKS)
    return SimpleNamespace(
        config=config,
        init=curriculum.init,
        draw=jax.jit(curriculum.draw),
        report=jax.jit(curriculum.report),
    )


class Slots:
    """Drives a curriculum and its model as a user would, or as a careless one would."""

    def __init__(self, replay):
        self.replay = replay
        self.state = replay.init(jax.random.key(0))
        self.model = BufferModel(CAPACITY, replay.config.needed)
        self.level_slots = np.full(SLOTS, -1, np.int32)
        self.round = 0

    def draw(self, wanted):
        wanted = np.array(wanted)
        self.round += 1
        tasks, level_slots, self.state = self.replay.draw(
            jax.random.key(self.round), self.state, jnp.asarray(wanted)
        )
        np.testing.assert_array_equal(tasks["vector"], np.repeat(tasks["id"][:, None], 3, 1))
        self.model.draw(wanted, [int(x) for x in tasks["id"]], [int(t) for t in level_slots])
        self.model.check(self.state)
        self.level_slots = np.where(wanted, level_slots, self.level_slots)

    def report(self, scores, ended):
        """`scores [C]`, by entry, so that a slot that is reported twice gets the same score."""
        scores = np.float32(scores)[self.level_slots % CAPACITY]
        self.state = self.replay.report(self.state, self.level_slots, scores, np.array(ended))
        self.model.report(self.level_slots.tolist(), scores.tolist(), ended)
        self.model.check(self.state)


masks = st.lists(st.booleans(), min_size=SLOTS, max_size=SLOTS)
all_scores = st.lists(
    st.sampled_from([-2.0, 0.0, 0.0, 0.5, 1.5, 3e38, NAN, INF, -INF]),
    min_size=CAPACITY,
    max_size=CAPACITY,
)


@hypothesis.settings(max_examples=40, deadline=None)
@hypothesis.given(st.lists(st.tuples(masks, all_scores, masks, st.booleans()), max_size=12))
def test_any_sequence_keeps_the_invariants(replay, rounds):
    """Slots that begin without having ended included: they leak entries, until none is free."""
    slots = Slots(replay)
    slots.draw([True] * SLOTS)
    for ended, scores, wanted, careless in rounds:
        slots.report(scores, ended)
        slots.draw(wanted if careless else ended)


def test_a_long_life_has_seen_everything(replay):
    """The model is shown replays, lost scores and full buffers, so its checks are not idle."""
    slots = Slots(replay)
    rng = np.random.default_rng(0)
    slots.draw([True] * SLOTS)
    for _ in range(120):
        ended = rng.random(SLOTS) < 0.4
        slots.report(np.where(rng.random(CAPACITY) < 0.1, NAN, rng.normal(size=CAPACITY)), ended)
        slots.draw(ended)
    assert slots.model.seen["no_slot"] == 0  # whoever reports always finds an entry
    assert all(slots.model.seen[x] > 5 for x in ("replayed", "placed", "dropped", "scored"))
    slots.draw([True] * SLOTS)
    slots.draw([True] * SLOTS)
    assert slots.model.seen["no_slot"] > 0
    slots.report(np.zeros(CAPACITY), [True] * SLOTS)
    slots.report(np.zeros(CAPACITY), [True] * SLOTS)
    assert slots.model.seen["ignored"] > 0


def test_the_model_sees_wrong_buffers():
    def model(**changes):
        made = BufferModel(2, 0)
        made.draw([True], [7], [0])
        made.report([0], [changes.get("score", 1.0)], [True])
        return made

    with pytest.raises(AssertionError, match="never evaluated"):
        model(score=NAN).draw([True], [7], [0])
    with pytest.raises(AssertionError, match="two slots"):
        model().draw([True, True], [7, 7], [0, 0])
    with pytest.raises(AssertionError, match="another level_slot"):
        model().draw([True], [7], [1])
    with pytest.raises(AssertionError):  # entry 1 is empty, so entry 0 must not be overwritten
        model().draw([True], [8], [0])
    in_use = model()
    in_use.draw([True], [7], [0])
    with pytest.raises(AssertionError, match="in use"):
        in_use.draw([True], [8], [0])


def buffer(scores, ages, evaluated=None, in_use=None):
    """A buffer by hand; level `i` has the id `i`."""
    count = len(scores)
    ids = jnp.arange(count, dtype=jnp.uint32)
    return LevelBuffer(
        levels={"id": ids, "vector": jnp.repeat(ids[:, None], 3, 1)},
        scores=jnp.float32(scores),
        evaluated=jnp.ones(count, bool) if evaluated is None else jnp.array(evaluated),
        in_use=jnp.zeros(count, bool) if in_use is None else jnp.array(in_use),
        plays=jnp.ones(count, jnp.int32),
        last_played=1000 - jnp.int32(ages),
        clock=jnp.int32(1000),
    )


def expected(scores, ages, can, config):
    """Chances of a replay in float64, straight from the formulae."""
    scores, ages = np.float64(scores), np.float64(ages)
    out = np.zeros(len(scores))
    if config.prioritisation == "rank":
        weights = (1 / stats.rankdata(-scores[can])) ** (1 / config.temperature)
    elif config.prioritisation == "proportional":
        weights = np.maximum(scores[can], 0) ** (1 / config.temperature)
    else:
        weights = np.exp(scores[can] / config.temperature)
    weights = weights if weights.sum() > 0 else np.ones_like(weights)
    ages = ages[can] if ages[can].sum() > 0 else np.ones(can.sum())
    by_score, by_age = weights / weights.sum(), ages / ages.sum()
    out[can] = (1 - config.staleness) * by_score + config.staleness * by_age
    return out


SCORES = [0.3, 1.2, -0.5, 0.3, 2.0, 0.7, 5.0, 9.0]
AGES = [5, 1, 40, 0, 7, 300, 2, 3]
EVALUATED = np.array([1, 1, 1, 1, 1, 1, 0, 1], bool)
IN_USE = np.array([0, 0, 0, 0, 0, 0, 0, 1], bool)


def hand_made():
    return buffer(SCORES, AGES, EVALUATED, IN_USE)


@pytest.mark.parametrize("prioritisation", ["rank", "proportional", "softmax"])
@pytest.mark.parametrize(("temperature", "staleness"), [(1.0, 0.0), (0.3, 0.4), (2.0, 1.0)])
def test_chances_are_the_formulae(prioritisation, temperature, staleness):
    config = LevelReplayConfig(
        8, prioritisation=prioritisation, temperature=temperature, staleness=staleness
    )
    got = LevelReplay(config, TASKS).probabilities(hand_made())
    want = expected(SCORES, AGES, EVALUATED & ~IN_USE, config)
    # float32 logarithms up to 10 in size, exponentiated: ten roundings of size 1e-7 each.
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("prioritisation", ["rank", "proportional", "softmax"])
@pytest.mark.parametrize(
    "scores", [[3e38, -3e38, 1.0, 1e-38], [0.0] * 4, [-1.0, -2.0, -1.0, 0.0], [1e4, 2e4, 0.0, 1.0]]
)
def test_no_score_overflows(prioritisation, scores):
    config = LevelReplayConfig(4, prioritisation=prioritisation, temperature=0.01, staleness=0.0)
    got = np.array(LevelReplay(config, TASKS).probabilities(buffer(scores, [0, 1, 2, 3])))
    assert np.isfinite(got).all()
    np.testing.assert_allclose(got.sum(), 1, rtol=1e-5)
    best = np.float32(scores) == np.float32(max(scores))
    if max(scores) > 0 or prioritisation != "proportional":  # which gives others no weight at all
        np.testing.assert_allclose(got[best], 1 / best.sum(), rtol=1e-4)


def test_nothing_to_replay_has_no_chance():
    replay = LevelReplay(LevelReplayConfig(4), TASKS)
    assert not np.any(replay.probabilities(replay.init(jax.random.key(0))))


def drawn_entries(config, count):
    """Slots `[count, 2]` of draws from the same buffer by two slots; -1 for a fresh level."""
    curriculum, everyone = LevelReplay(config, TASKS), jnp.ones(2, bool)

    @jax.jit
    @jax.vmap
    def draw(key):
        tasks, level_slots, _ = curriculum.draw(key, hand_made(), everyone)
        return tasks["id"], level_slots

    ids, level_slots = map(np.array, draw(jax.random.split(jax.random.key(3), count)))
    return np.where(
        ids == level_slots, level_slots, -1
    )  # level i has id i; a fresh one has random bits


def chi_square(counts, chances):
    shown = chances > 0
    assert not counts[~shown].any()
    return stats.chisquare(counts[shown], chances[shown] * counts.sum()).pvalue


def test_levels_are_replayed_as_often_as_they_should_be():
    """The first slot by the chances, the second by the same ones without the first's level."""
    config = LevelReplayConfig(8, replay_probability=1.0, staleness=0.2)
    first, second = drawn_entries(config, 20_000).T
    can = EVALUATED & ~IN_USE
    one = expected(SCORES, AGES, can, config)
    counts = np.bincount(first, minlength=8)
    assert chi_square(counts, one) > 1e-3
    # The test has power: a few hundredths of staleness more would be seen.
    other = LevelReplayConfig(8, replay_probability=1.0, staleness=0.25)
    assert chi_square(counts, expected(SCORES, AGES, can, other)) < 1e-6
    pairs = one[:, None] * one[None] / (1 - one[:, None])
    np.fill_diagonal(pairs, 0.0)
    counts = np.bincount(8 * first + second, minlength=64)
    assert chi_square(counts, pairs.ravel()) > 1e-3


def test_the_share_of_replays_is_the_one_asked_for():
    config = LevelReplayConfig(8, replay_probability=0.3)
    replays = (drawn_entries(config, 5_000) >= 0).ravel()
    error = math.sqrt(0.3 * 0.7 / replays.size)
    assert abs(replays.mean() - 0.3) < 4 * error


def test_old_levels_come_back_by_staleness():
    """Entry 5 ranks low and is the oldest by far: without staleness it never comes."""
    scores = [1.0, 2.0, 3.0, 4.0, 5.0, 0.0]
    ages = [1, 1, 1, 1, 1, 500]
    chances = [
        LevelReplay(LevelReplayConfig(6, temperature=0.1, staleness=s), TASKS).probabilities(
            buffer(scores, ages)
        )[5]
        for s in (0.0, 0.3)
    ]
    assert chances[0] < 1e-6
    np.testing.assert_allclose(chances[1], 0.3 * 500 / 505, rtol=1e-4)


def test_nothing_is_replayed_before_the_buffer_is_filled_enough():
    config = LevelReplayConfig(8, replay_probability=1.0, minimum_fill=4 / 8)
    draw = jax.jit(LevelReplay(config, TASKS).draw)
    for evaluated, replays in [(3, False), (4, True)]:
        state = buffer(np.arange(8.0), range(8), np.arange(8) < evaluated)
        _, level_slots, state = draw(jax.random.key(0), state, jnp.array([True]))
        assert bool(state.evaluated[level_slots[0]]) == replays


def test_a_snapshot_says_what_the_buffer_is():
    replay = LevelReplay(LevelReplayConfig(8), TASKS)
    shown = replay.snapshot(hand_made())
    np.testing.assert_array_equal(shown["ages"], AGES)
    np.testing.assert_array_equal(shown["scores"], np.where(EVALUATED, np.float32(SCORES), NAN))
    np.testing.assert_array_equal(shown["levels"]["id"], np.arange(8))
    np.testing.assert_allclose(np.sum(shown["probabilities"]), 1, rtol=1e-5)
    assert {"plays", "evaluated", "in_use"} < set(shown)


@pytest.mark.parametrize(
    "wrong",
    [
        {"capacity": 0},
        {"replay_probability": 1.2},
        {"prioritisation": "ranks"},
        {"temperature": 0.0},
        {"staleness": -0.1},
        {"minimum_fill": 2.0},
    ],
)
def test_wrong_settings_are_refused(wrong):
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        LevelReplayConfig(**wrong)


def test_a_buffer_that_is_too_small_is_refused(key):
    replay = LevelReplay(LevelReplayConfig(4, minimum_fill=0.5), FixedTask(0.0))
    state = replay.init(key)
    jax.eval_shape(replay.draw, key, state, jnp.ones(2, bool))
    with pytest.raises(ConfigError, match="capacity must be at least 5 for 3 unrolls"):
        jax.eval_shape(replay.draw, key, state, jnp.ones(3, bool))
