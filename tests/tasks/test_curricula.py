"""What holds of every curriculum; a new one is a new row."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from metarl.tasks.curricula import (
    LevelReplay,
    LevelReplayConfig,
    ScheduledLifetimes,
    Uniform,
    growing,
)
from metarl.tasks.environments import SampledTask

SLOTS = 3


def level(key):
    """A weakly typed leaf, a vector and a typed key: whatever a task may hold."""
    return {"x": jax.random.normal(key, (2,)), "constant": 1.0, "key": key}


TASKS = SampledTask(level)
TABLE = {
    "uniform": Uniform(TASKS),
    "level_replay": LevelReplay(LevelReplayConfig(capacity=SLOTS, minimum_fill=0.0), TASKS),
    "scheduled": ScheduledLifetimes(Uniform(TASKS), growing(10, 100, 5), jitter=0.1),
}


def shapes(tree):
    return jax.tree.map(lambda x: (x.shape, x.dtype), jax.eval_shape(lambda: tree))


@pytest.fixture(scope="module", params=TABLE)
def rounds(request):
    """Ten rounds in one scan, as an estimator runs them."""
    curriculum = TABLE[request.param]

    @jax.jit
    def run_rounds(key, state):
        def some(state, key):
            ended = jax.random.bernoulli(key, 0.6, (SLOTS,))
            tasks, level_slots, state = curriculum.draw(key, state, ended)
            tasks = getattr(tasks, "task", tasks)  # one that came with a lifetime
            state = curriculum.report(state, level_slots, tasks["x"][:, 0], ended)
            return state, (tasks, level_slots, ended)

        return jax.lax.scan(some, state, jax.random.split(key, 10))

    start = curriculum.init(jax.random.key(0))
    return start, run_rounds(jax.random.key(1), start), run_rounds(jax.random.key(1), start)


def test_the_state_keeps_its_shapes(rounds):
    start, (end, _), _ = rounds
    assert shapes(start) == shapes(end)


def test_tasks_are_those_of_the_distribution(rounds):
    """Every task, fresh or replayed, is whole: its vector belongs to its key."""
    _, (_, (tasks, level_slots, ended)), _ = rounds
    again = jax.vmap(jax.vmap(level))(tasks["key"])
    np.testing.assert_array_equal(tasks["x"], again["x"])
    assert level_slots.dtype == jnp.int32
    assert level_slots.shape == ended.shape == (10, SLOTS)
    assert (np.array(level_slots)[np.array(ended)] >= 0).all()


def test_the_same_key_draws_the_same(rounds):
    _, (_, (one, level_slots, _)), (_, (two, others, _)) = rounds
    np.testing.assert_array_equal(one["x"], two["x"])
    np.testing.assert_array_equal(level_slots, others)


def test_uniform_tasks_have_the_distribution_of_the_tasks(key):
    uniform = TABLE["uniform"]
    tasks, _, state = uniform.draw(key, uniform.init(key), jnp.ones(2000, bool))
    # Means and variances of 2000 normal numbers, within four standard errors.
    np.testing.assert_allclose(tasks["x"].mean(0), 0, atol=4 / 2000**0.5)
    np.testing.assert_allclose(tasks["x"].var(0), 1, atol=4 * (2 / 2000) ** 0.5)
    assert state == ()
