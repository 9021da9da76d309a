import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from metarl.core.shaping import (
    SHAPINGS,
    centered_rank,
    replace_diverged,
    shaped_mean,
    win_loss,
    z_score,
)

LOSSES = jnp.array([3.0, -1.0, 3.0, 0.5, 7.0, 0.5, 0.5, -4.0])


def test_ranks_share_ties():
    expected = (scipy.stats.rankdata(LOSSES) - 1) / (len(LOSSES) - 1) - 0.5
    # Two roundings of numbers up to 1/2.
    np.testing.assert_allclose(centered_rank(LOSSES), expected, atol=1e-7)


def test_rank_of_equal_losses_and_of_one_is_zero():
    np.testing.assert_array_equal(centered_rank(jnp.full(8, 0.1)), np.zeros(8))
    np.testing.assert_array_equal(centered_rank(jnp.array([5.0])), [0.0])


def test_z_score():
    scores = np.asarray(z_score(LOSSES))
    # Float32 sums of a few numbers of size one.
    assert abs(scores.mean()) < 1e-6
    assert abs(scores.std() - 1) < 1e-6
    np.testing.assert_allclose(scores, scipy.stats.zscore(LOSSES), atol=1e-6)


@pytest.mark.parametrize("value", [0.1, 1e6, -3e-7])
def test_z_score_of_equal_losses_is_zero(value):
    np.testing.assert_array_equal(z_score(jnp.full(7, value)), np.zeros(7))


def test_the_better_of_a_pair_wins_and_ties_are_zero():
    losses = jnp.array([3.0, 1.0, 2.0, 2.0, -5.0, -4.0, 0.0, 1e-30])
    expected = [0.5, -0.5, 0.0, 0.0, -0.5, 0.5, -0.5, 0.5]
    np.testing.assert_array_equal(win_loss(losses), expected)


def test_a_pair_sums_to_zero_whatever_its_task_is_worth():
    """Shift and scale are those of a task, which a pair shares; members of a pair are far apart."""
    rng = np.random.default_rng(0)
    losses = rng.permuted(np.arange(40.0)).reshape(2, 10, 2)
    shift, scale = 100 * rng.normal(size=(2, 10, 1)), np.exp(rng.normal(size=(2, 10, 1)))
    before = np.asarray(win_loss(jnp.float32(losses.reshape(2, 20))))
    after = win_loss(jnp.float32((shift + scale * losses).reshape(2, 20)))
    np.testing.assert_array_equal(after, before)
    pairs = before.reshape(2, 10, 2)
    np.testing.assert_array_equal(pairs.sum(-1), 0.0)
    np.testing.assert_array_equal(
        pairs[..., 0], np.where(losses[..., 0] > losses[..., 1], 0.5, -0.5)
    )


@pytest.mark.parametrize("shaping", SHAPINGS)
def test_rows_are_shaped_apart(shaping):
    rows = jnp.stack([LOSSES, 10 * LOSSES[::-1]])
    shaped = SHAPINGS[shaping](rows)
    for row, expected in zip(rows, shaped, strict=True):
        # The same sums, perhaps in another order: a few roundings of numbers of size one.
        np.testing.assert_allclose(SHAPINGS[shaping](row), expected, atol=1e-6)
    np.testing.assert_allclose(shaped_mean(rows, shaping), shaped.mean(axis=0), atol=1e-6)


def test_diverged_members_get_the_worst_of_their_row():
    losses = jnp.array([[1.0, jnp.nan, 2.0, -jnp.inf], [5.0, 6.0, 4.0, jnp.inf], [jnp.nan] * 4])
    replaced, count = replace_diverged(losses)
    expected = [[1.0, 2.0, 2.0, 2.0], [5.0, 6.0, 4.0, 6.0], [0.0] * 4]
    np.testing.assert_array_equal(replaced, expected)
    assert count == 4
    assert replace_diverged(losses[0])[1] == 2
    assert replace_diverged(losses[1])[1] == 1


def test_negative_losses_are_replaced_by_the_worst_not_by_zero():
    replaced, _ = replace_diverged(jnp.array([-3.0, jnp.nan, -5.0]))
    np.testing.assert_array_equal(replaced, [-3.0, -3.0, -5.0])
