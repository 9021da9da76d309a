import jax
import jax.numpy as jnp
import numpy as np
import pytest

from metarl.core.mesh import Layout
from metarl.estimators.population import evaluate

from .toys import one_step

P, TASKS, SEEDS = 6, 3, 2


def shown(key, sharing, function):
    """Sums over a member's lifetimes of what they saw, `[P]`: for one, two tasks, two seeds."""

    def total(tasks, seeds):
        evaluation = evaluate(
            (one_step(function, jax.random.uniform),),
            Layout(),
            lambda member: jnp.float32(0),
            P,
            key,
            common_random_numbers=sharing,
            tasks=tasks,
            seeds=seeds,
        )
        return np.asarray(evaluation.losses[0] * tasks * seeds)

    return total(1, 1), total(2, 1), total(1, 2)


def task_seen(theta, task, key):
    return task


def life_seen(theta, task, key):
    return jax.random.uniform(key)


@pytest.mark.parametrize(("sharing", "different"), [("pair", 3), ("population", 1), ("none", 6)])
@pytest.mark.parametrize("function", [task_seen, life_seen])
def test_who_shares_random_numbers(key, sharing, different, function):
    first, _, _ = shown(key, sharing, function)
    assert len(np.unique(first)) == different
    if sharing == "pair":
        np.testing.assert_array_equal(first[0::2], first[1::2])


def test_seeds_share_the_task_and_differ_otherwise(key):
    one, two_tasks, two_seeds = shown(key, "none", task_seen)
    np.testing.assert_array_equal(two_seeds, 2 * one)
    assert np.all(two_tasks != 2 * one)
    one, two_tasks, two_seeds = shown(key, "none", life_seen)
    assert np.all(two_seeds != 2 * one)
    assert np.all(two_tasks != 2 * one)


def test_unrolls_draw_apart(key):
    unroll = one_step(life_seen)
    losses = evaluate((unroll, unroll), Layout(), lambda m: jnp.float32(0), P, key).losses
    assert losses.shape == (2, P)
    assert losses[0, 0] != losses[1, 0]


def test_members_are_told_apart_and_summaries_averaged(key):
    unroll = one_step(lambda theta, task, key: theta + task, lambda key: jnp.float32(0.5))
    evaluation = evaluate(
        (unroll,),
        Layout(chunk=4),
        lambda member: member.astype(jnp.float32),
        P,
        key,
        tasks=TASKS,
        seeds=SEEDS,
        summary=lambda logs: {"twice": 2 * logs[0], "steps": jnp.float32(logs.shape[0])},
    )
    np.testing.assert_allclose(evaluation.losses, np.arange(P)[None] + 0.5)
    np.testing.assert_allclose(evaluation.summary["twice"], 2 * np.arange(P)[None] + 1)
    np.testing.assert_array_equal(evaluation.summary["steps"], np.ones((1, P)))
