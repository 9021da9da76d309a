"""Several rules behind one interface, chosen by a number: one compilation compares them all."""

from functools import lru_cache
from typing import NamedTuple

import jax
import jax.numpy as jnp

from metarl.core.types import Array, Theta
from metarl.rules.protocol import Rule


class BankTheta(NamedTuple):
    """Which rule acts (an integer scalar), and the meta-parameters of all of them."""

    which: Array
    thetas: tuple[Theta, ...]


@lru_cache(maxsize=32)
def bank(rules: tuple[Rule, ...]) -> Rule:
    """Makes the rule that behaves like `rules[theta.which]`; equal rules give the same object.

    The choice is a branch of the compiled program, so only the chosen drift is computed unless
    `which` is vmapped.
    """

    def init(key: Array) -> BankTheta:
        return BankTheta(jnp.int32(0), tuple(rule.init(key) for rule in rules))

    def drift(theta: BankTheta, ratio: Array, advantage: Array, progress: Array) -> Array:
        branches = [
            lambda r, a, p, rule=rule, own=own: rule.drift(own, r, a, p)
            for rule, own in zip(rules, theta.thetas, strict=True)
        ]
        return jax.lax.switch(theta.which, branches, ratio, advantage, progress)

    return Rule("bank", init, drift)
