"""The average of theta against its sum in float64, around a meta-optimizer that counts."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from metarl.core.errors import ConfigError
from metarl.outer.averaging import AveragedMetaOptimizer


@dataclass(frozen=True)
class Counting:
    """Moves theta by 1 at each step."""

    def init(self, key, theta):
        return theta

    def step(self, key, state):
        return jax.tree.map(lambda x: x + 1, state), jnp.float32(0.0)

    def theta(self, state):
        return state


@pytest.mark.parametrize("steps", [0, 1, 7])
def test_the_average_against_its_sum(steps):
    meta = AveragedMetaOptimizer(Counting(), 0.8)
    state = meta.init(jax.random.key(0), {"x": jnp.array([3.0, -2.0])})
    state, _ = jax.lax.scan(
        lambda s, k: meta.step(k, s), state, jax.random.split(jax.random.key(0), steps)
    )
    weights = 0.8 ** np.arange(steps)[::-1]
    moved = np.average(np.arange(1, steps + 1), weights=weights) if steps else 0.0
    expected = np.array([3.0, -2.0]) + moved
    # 1 - 0.8^steps and sums of at most seven float32 terms.
    np.testing.assert_allclose(meta.theta(state)["x"], expected, rtol=1e-6, atol=1e-6)


def test_a_decay_of_one_never_averages():
    with pytest.raises(ConfigError, match="decay"):
        AveragedMetaOptimizer(Counting(), 1.0)
