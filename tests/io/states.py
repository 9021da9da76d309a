"""A training state that is a function of its step, so that any checkpoint can be checked."""

from typing import NamedTuple

import jax
import numpy as np


class Pair(NamedTuple):
    """A named tuple, as optimizer states are."""

    left: object
    right: object


def state_at(step):
    """Arrays of two dtypes, a counter, an absent part and a PRNG key, all functions of `step`."""
    rng = np.random.default_rng(step)
    return {
        "theta": {"w": rng.normal(size=(32, 8)).astype(np.float32), "b": rng.normal(size=5)},
        "opt": Pair(np.int32(step), None),
        "key": jax.random.key(step),
    }
