"""Envelopes against hand-computed ones, and against properties that define them."""

import numpy as np
import pytest

from metarl.core.errors import ConfigError
from metarl.problems.optimizer.envelope import Envelope, bottom_envelope, exponential_moving_average

HAND = Envelope([0, 10, 20, 40, 50], [4.0, 2.0, 2.0, 1.0, 0.5])


def test_the_envelope_of_curves_by_hand():
    curves = [[4.0, 3.0, 2.5, 9.0], [4.5, 1.0, 2.0, np.nan], [4.2, np.inf, 0.5, 0.7]]
    envelope = bottom_envelope([0, 1, 2, 3], curves)
    np.testing.assert_array_equal(envelope.losses, [4.0, 1.0, 0.5, 0.5])
    np.testing.assert_array_equal(envelope.steps, [0, 1, 2, 3])


def test_steps_to_a_loss_by_hand():
    wanted = {4.0: 0, 3.0: 5, 2.5: 7.5, 2.0: 10, 1.5: 30, 1.0: 40, 0.75: 45, 0.5: 50}
    np.testing.assert_array_equal(HAND.steps_to(list(wanted)), list(wanted.values()))
    assert HAND.steps_to(3.0) == 5  # a number, too
    # Beyond the ends it stands still, and says so.
    np.testing.assert_array_equal(HAND.steps_to([7.0, 0.1, np.nan, np.inf]), [0, 50, 0, 0])
    np.testing.assert_array_equal(HAND.covers([4.0, 0.5, 1.0]), True)
    np.testing.assert_array_equal(HAND.covers([7.0, 0.1, np.nan]), False)


def test_steps_and_losses_are_inverse_and_never_turn_round():
    rng = np.random.default_rng(0)
    for _ in range(20):
        steps = np.cumsum(rng.integers(1, 50, 12))
        envelope = bottom_envelope(steps, rng.normal(size=(5, 12)) - np.arange(12))
        # Anywhere between the ends, the envelope has come down to the loss, and not before.
        losses = rng.uniform(envelope.losses[-1], envelope.losses[0], 50)
        found = envelope.steps_to(losses)
        # Two interpolations of float64, whose knots are at most 600 apart.
        np.testing.assert_allclose(envelope.loss_at(found), losses, atol=1e-11)
        assert (envelope.loss_at(found - 1e-3) > losses).all()
        order = np.argsort(losses)
        assert (np.diff(found[order]) <= 0).all()


def test_any_curve_added_can_only_lower_it():
    rng = np.random.default_rng(1)
    curves = rng.normal(size=(6, 30))
    less, more = bottom_envelope(range(30), curves[:5]), bottom_envelope(range(30), curves)
    assert (more.losses <= less.losses).all()
    assert (more.losses <= curves).all()


def test_smoothing_by_hand():
    # 8, then 0.75 * 8 + 0.25 * 4 = 7, then 0.75 * 7 + 0.25 * 3 = 6.
    np.testing.assert_array_equal(exponential_moving_average([[8.0, 4, 3]], 0.75), [[8, 7, 6]])
    np.testing.assert_array_equal(exponential_moving_average([3.0, 1.0], 0.0), [3, 1])
    with pytest.raises(ConfigError, match="decay must lie"):
        exponential_moving_average([1.0], 1.0)


@pytest.mark.parametrize(
    ("steps", "losses", "message"),
    [
        ([0, 1], [1.0, 2.0], "losses must not"),
        ([1, 1], [2.0, 1.0], "steps must rise"),
        ([0], [1.0], "two knots"),
        ([0, 1], [1.0], "two knots"),
        ([0, 1], [np.nan, 1.0], "finite"),
    ],
)
def test_what_is_no_envelope_is_refused(steps, losses, message):
    with pytest.raises(ConfigError, match=message):
        Envelope(steps, losses)


def test_curves_without_a_start_are_refused():
    with pytest.raises(ConfigError, match="finite at its first step"):
        bottom_envelope([0, 1], [[np.nan, 1.0]])
    with pytest.raises(ConfigError, match=r"\[\.\.\., 2\]"):
        bottom_envelope([0, 1], [[1.0, 1.0, 1.0]])
