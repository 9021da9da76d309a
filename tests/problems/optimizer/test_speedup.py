"""Speed-ups by hand."""

import numpy as np
import pytest

from metarl.core.errors import ConfigError
from metarl.problems.optimizer.envelope import Envelope
from metarl.problems.optimizer.speedup import speedups, task_speedups

ENVELOPE = Envelope([0, 100, 200, 400], [3.0, 2.0, 1.0, 0.0])


def test_by_hand():
    # The baselines need 150 updates to a loss of 1.5; it took 50, 150 and 300.
    found = speedups(ENVELOPE, [1.5, 1.5, 1.5], [50, 150, 300])
    np.testing.assert_array_equal(found.values, [3.0, 1.0, 0.5])
    assert found.saturated == 0


def test_the_envelope_itself_has_speed_one():
    steps = np.array([1, 37, 100, 350, 400])
    # Two float64 interpolations.
    np.testing.assert_allclose(
        speedups(ENVELOPE, ENVELOPE.loss_at(steps), steps).values, 1.0, rtol=1e-12
    )


def test_ends_are_told():
    found = speedups(ENVELOPE, [-1.0, 5.0, np.nan, np.inf, 1.0], 100)
    np.testing.assert_array_equal(found.values, [4.0, 0.0, 0.0, 0.0, 2.0])
    np.testing.assert_array_equal(found.below, [True, False, False, False, False])
    np.testing.assert_array_equal(found.above, [False, True, True, True, False])
    assert found.saturated == 4


def test_tasks_have_envelopes_of_their_own():
    harder = Envelope([0, 1000], [3.0, 1.0])
    found = task_speedups([ENVELOPE, harder], [[2.0, 1.0], [2.0, 1.0]], 100)
    np.testing.assert_array_equal(found.values, [[1.0, 2.0], [5.0, 10.0]])
    with pytest.raises(ConfigError, match="1 tasks against 2 envelopes"):
        task_speedups([ENVELOPE, harder], [[1.0]], 100)


def test_no_update_has_no_speed():
    with pytest.raises(ConfigError, match="steps must be positive"):
        speedups(ENVELOPE, [1.0], [0])
