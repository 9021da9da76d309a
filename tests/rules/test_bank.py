"""A bank behaves like the rule that its index names."""

import jax
import jax.numpy as jnp
import numpy as np

from metarl.rules import dpo, none, ppo
from metarl.rules.bank import BankTheta, bank


def test_the_index_chooses_the_rule(key):
    rules = (ppo(), dpo(), none())
    together = bank(rules)
    ratio = jnp.exp(0.5 * jax.random.normal(key, (64,)))
    advantage = jax.random.normal(jax.random.key(1), (64,))
    progress = jnp.float32(0.5)
    thetas = together.init(key).thetas
    for index, rule in enumerate(rules):
        theta = BankTheta(jnp.int32(index), thetas)
        got = jax.jit(together.drift)(theta, ratio, advantage, progress)
        expected = rule.drift((), ratio, advantage, progress)
        # The same formula, compiled apart: a few roundings, of differences of numbers of size one.
        np.testing.assert_allclose(got, expected, rtol=1e-6, atol=1e-7)
