"""Named PRNG keys, and permutations by one sort."""

import jax
import numpy as np
import pytest
from scipy import stats

from metarl.core.keys import named, permutations, split_named


def test_a_new_consumer_does_not_change_the_others(key):
    before = split_named(key, "env", "policy")
    after = split_named(key, "env", "noise", "policy")
    np.testing.assert_array_equal(jax.random.key_data(before[0]), jax.random.key_data(after[0]))
    np.testing.assert_array_equal(jax.random.key_data(before[1]), jax.random.key_data(after[2]))


def test_names_give_different_keys(key):
    data = [tuple(np.asarray(jax.random.key_data(named(key, n)))) for n in ("a", "b", "env", "")]
    assert len(set(data)) == len(data)


@pytest.mark.parametrize("n", [1, 2, 7, 512, 1000, 2**14, 2**14 + 1])
def test_permutations_hold_every_index_once(key, n):
    drawn = np.asarray(permutations(key, 3, n))
    assert drawn.shape == (3, n)
    np.testing.assert_array_equal(np.sort(drawn, axis=1), np.tile(np.arange(n), (3, 1)))
    if n > 2:
        assert (drawn[0] != drawn[1]).any()


def test_permutations_are_uniform(key):
    """All 24 orders of four things are equally likely (chi-squared at 1e-4)."""
    drawn = np.asarray(permutations(key, 24_000, 4))
    _, counts = np.unique(drawn @ np.array([64, 16, 4, 1]), return_counts=True)
    assert counts.size == 24
    assert stats.chisquare(counts).pvalue > 1e-4


def test_positions_are_uniform_in_longer_permutations(key):
    drawn = np.asarray(permutations(key, 4000, 16))
    for position in (0, 7, 15):
        counts = np.bincount(drawn[:, position], minlength=16)
        assert stats.chisquare(counts).pvalue > 1e-4
