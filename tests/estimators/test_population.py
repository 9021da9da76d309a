"""Which members share tasks and random numbers, and the losses and summary of every member."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from metarl.core.contracts import Unroll
from metarl.core.mesh import Layout
from metarl.estimators.population import evaluate

from .toys import OneStep, Tasks

P = 6
SHOWN = Unroll(
    Tasks(jax.random.uniform),
    OneStep(lambda theta, task, key: {"task": task, "lifetime": jax.random.uniform(key)}),
    1,
    lambda logs: logs["lifetime"][0],
)
"""Logs the task and, as its loss, a random number of the lifetime."""


@pytest.fixture(scope="module")
def observed():
    """Sums over a member's lifetimes, `[P]`, by sharing, number of tasks and of seeds."""
    cases = [("pair", 1, 1), ("population", 1, 1), ("none", 1, 1), ("none", 2, 1), ("none", 1, 2)]

    def observe(key, sharing, tasks, seeds):
        evaluation = evaluate(
            (SHOWN,),
            Layout(),
            lambda member: jnp.float32(0),
            P,
            key,
            common_random_numbers=sharing,
            tasks=tasks,
            seeds=seeds,
            summary=lambda logs: {"task": logs["task"][0]},
        )
        sums = {"lifetime": evaluation.losses[0], "task": evaluation.summary["task"][0]}
        return jax.tree.map(lambda x: x * tasks * seeds, sums)

    run = jax.jit(lambda key: [observe(key, *case) for case in cases])
    return dict(zip(cases, jax.device_get(run(jax.random.key(0))), strict=True))


@pytest.mark.parametrize(("sharing", "different"), [("pair", 3), ("population", 1), ("none", 6)])
@pytest.mark.parametrize("what", ["task", "lifetime"])
def test_which_members_share_random_numbers(observed, sharing, different, what):
    found = observed[sharing, 1, 1][what]
    assert len(np.unique(found)) == different
    if sharing == "pair":
        np.testing.assert_array_equal(found[0::2], found[1::2])


def test_seeds_share_the_task_and_differ_otherwise(observed):
    one, two_tasks, two_seeds = (observed["none", *case] for case in ((1, 1), (2, 1), (1, 2)))
    np.testing.assert_array_equal(two_seeds["task"], 2 * one["task"])
    assert np.all(two_tasks["task"] != 2 * one["task"])
    assert np.all(two_seeds["lifetime"] != 2 * one["lifetime"])
    assert np.all(two_tasks["lifetime"] != 2 * one["lifetime"])


def test_members_differ_unrolls_draw_independently_and_summaries_are_averaged(key):
    unroll = Unroll(
        Tasks(lambda key: jnp.float32(0.5)),
        OneStep(
            lambda theta, task, key: {"sum": theta + task, "lifetime": jax.random.uniform(key)}
        ),
        1,
        lambda logs: logs["sum"][0],
    )

    @jax.jit
    def run(key):
        return evaluate(
            (unroll, unroll),
            Layout(chunk=4),
            lambda member: member.astype(jnp.float32),
            P,
            key,
            tasks=3,
            seeds=2,
            summary=lambda logs: {"twice": 2 * logs["sum"][0], "lifetime": logs["lifetime"][0]},
        )

    losses, summary = run(key)
    expected = np.tile(np.arange(P) + 0.5, (2, 1))
    np.testing.assert_allclose(losses, expected)
    np.testing.assert_allclose(summary["twice"], 2 * expected)
    assert np.all(summary["lifetime"][0] != summary["lifetime"][1])
