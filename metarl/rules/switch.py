"""A switch over drifts: one compiled program evaluates any of several, selected by an index."""

from functools import lru_cache
from typing import NamedTuple

import jax
import jax.numpy as jnp

from metarl.core.types import Array, Theta
from metarl.rules.protocol import Drift


class SwitchTheta(NamedTuple):
    """Meta-parameters of a switch.

    Attributes:
      which: index of the selected drift, an integer scalar.
      thetas: meta-parameters of all drifts.
    """

    which: Array
    thetas: tuple[Theta, ...]


@lru_cache(maxsize=32)
def switch(drifts: tuple[Drift, ...]) -> Drift:
    """Makes the drift that evaluates `drifts[theta.which]`.

    Equal arguments return the same object. The selection is `jax.lax.switch`: only the selected
    drift is computed, unless `which` is vmapped.
    """

    def init(key: Array) -> SwitchTheta:
        return SwitchTheta(jnp.int32(0), tuple(drift.init(key) for drift in drifts))

    def apply(theta: SwitchTheta, ratio: Array, advantage: Array, progress: Array) -> Array:
        branches = [
            lambda r, a, p, drift=drift, own=own: drift.apply(own, r, a, p)
            for drift, own in zip(drifts, theta.thetas, strict=True)
        ]
        return jax.lax.switch(theta.which, branches, ratio, advantage, progress)

    return Drift("switch", init, apply)
