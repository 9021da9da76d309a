"""Lifetimes that grow with the outer steps."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from metarl.core.errors import ConfigError
from metarl.tasks.curricula import ScheduledLifetimes, Uniform, growing
from metarl.tasks.environments import FixedTask

LOW, HIGH, STEPS, SLOTS = 10, 160, 4, 3


def lifetimes(curriculum, steps, slots=SLOTS):
    """What is drawn before each of some outer steps, `[steps, slots]`."""

    def some(state, key):
        everyone = jnp.ones(slots, bool)
        tasks, level_slots, state = curriculum.draw(key, state, everyone)
        # No lifetime ended: the steps are counted all the same.
        state = curriculum.report(state, level_slots, jnp.zeros(slots), ~everyone)
        return state, tasks.lifetime

    keys = jax.random.split(jax.random.key(1), steps)
    return np.asarray(jax.jit(lambda: jax.lax.scan(some, curriculum.init(keys[0]), keys)[1])())


def scheduled(schedule, jitter=0.0):
    return ScheduledLifetimes(Uniform(FixedTask(())), schedule, jitter)


def test_growth_is_even_in_the_logarithm_and_ends():
    drawn = lifetimes(scheduled(growing(LOW, HIGH, STEPS)), 7)
    expected = [10, 20, 40, 80, 160, 160, 160]
    np.testing.assert_array_equal(drawn, np.repeat(np.array(expected)[:, None], SLOTS, axis=1))
    assert drawn.dtype == np.int32


def test_any_schedule_of_optax():
    drawn = lifetimes(scheduled(optax.linear_schedule(8, 2, 3)), 5)
    np.testing.assert_array_equal(drawn[:, 0], [8, 6, 4, 2, 2])


def test_jitter_is_even_in_the_logarithm_around_the_schedule():
    jitter, slots = 0.7, 20_000
    logs = np.log(lifetimes(scheduled(optax.constant_schedule(1000), jitter), 1, slots)[0] / 1000)
    # A uniform number in [-j, j]: mean 0, variance j^2 / 3, each within four standard errors;
    # rounding to whole updates moves a lifetime by less than 1 in 500.
    assert np.abs(logs).max() < jitter + 0.002
    assert abs(logs.mean()) < 4 * jitter / np.sqrt(3 * slots)
    fourth = jitter**4 / 5
    error = np.sqrt((fourth - jitter**4 / 9) / slots)
    assert abs(logs.var() - jitter**2 / 3) < 4 * error


def test_a_lifetime_has_at_least_one_update():
    assert np.all(lifetimes(scheduled(optax.constant_schedule(0.1)), 1) == 1)


def test_scores_reach_the_curriculum_that_is_wrapped():
    class RecordsScores(Uniform):
        def report(self, state, slots, scores, ended):
            return scores, ended

    outer = ScheduledLifetimes(RecordsScores(FixedTask(())), growing(1, 2, 3))
    reported = outer.report(outer.init(jax.random.key(0)), jnp.arange(2), jnp.ones(2), jnp.zeros(2))
    assert reported.step == 1
    np.testing.assert_array_equal(reported.tasks[0], 1)


@pytest.mark.parametrize(("low", "high", "steps"), [(0, 5, 3), (5, 4, 3), (1, 2, 0)])
def test_refused_schedules(low, high, steps):
    with pytest.raises(ConfigError):
        growing(low, high, steps)


@pytest.mark.parametrize("jitter", [-0.1, 9.0, float("nan")])
def test_refused_jitter(jitter):
    with pytest.raises(ConfigError, match="jitter must lie in"):
        scheduled(growing(1, 2, 3), jitter)
