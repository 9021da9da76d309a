"""Lifetimes that come with tasks: bounds, and equal shares in the logarithm."""

import jax
import numpy as np
import pytest

from metarl.core.errors import ConfigError
from metarl.tasks.environments import FixedTask
from metarl.tasks.lifetimes import Lifetimes


def test_log_uniform(key):
    tasks = Lifetimes(FixedTask(()), 10, 250)
    draws = 20_000
    drawn = np.asarray(jax.vmap(tasks.sample)(jax.random.split(key, draws)).lifetime)
    assert drawn.min() == 10
    assert drawn.max() == 250
    for low, high in [(10, 20), (20, 50), (100, 251)]:
        share = np.mean((drawn >= low) & (drawn < high))
        expected = np.log(high / low) / np.log(251 / 10)
        # Four standard errors of a share.
        assert abs(share - expected) < 4 * np.sqrt(expected * (1 - expected) / draws)


def test_one_lifetime(key):
    assert int(Lifetimes(FixedTask(()), 7, 7).sample(key).lifetime) == 7


@pytest.mark.parametrize(("low", "high"), [(0, 5), (-1, 5), (6, 5)])
def test_refused(low, high):
    with pytest.raises(ConfigError, match="lifetime"):
        Lifetimes(FixedTask(()), low, high)
