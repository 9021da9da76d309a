"""A switch evaluates the drift that its index selects."""

import jax
import jax.numpy as jnp
import numpy as np

from metarl.rules import dpo, none, ppo
from metarl.rules.switch import SwitchTheta, switch


def test_the_index_selects_the_drift(key):
    drifts = (ppo(), dpo(), none())
    together = switch(drifts)
    ratio = jnp.exp(0.5 * jax.random.normal(key, (64,)))
    advantage = jax.random.normal(jax.random.key(1), (64,))
    progress = jnp.float32(0.5)
    thetas = together.init(key).thetas
    for index, drift in enumerate(drifts):
        theta = SwitchTheta(jnp.int32(index), thetas)
        got = jax.jit(together.apply)(theta, ratio, advantage, progress)
        expected = drift.apply((), ratio, advantage, progress)
        # The same formula, compiled apart: a few roundings, of differences of numbers of size one.
        np.testing.assert_allclose(got, expected, rtol=1e-6, atol=1e-7)
