"""A training state that is a function of its step, so that any checkpoint can be checked."""

import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np

_ROOT = Path(__file__).parents[2]


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


def assert_same(restored, saved):
    """Structure, types and every bit."""
    assert jax.tree.structure(restored) == jax.tree.structure(saved)
    for new, old in zip(jax.tree.leaves(restored), jax.tree.leaves(saved), strict=True):
        if jax.dtypes.issubdtype(getattr(old, "dtype", None) or np.int32, jax.dtypes.prng_key):
            assert str(jax.random.key_impl(new)) == str(jax.random.key_impl(old))
            new, old = jax.random.key_data(new), jax.random.key_data(old)
        if isinstance(old, bool | int | float | complex) and not isinstance(old, np.generic):
            assert type(new) is type(old)
        new, old = np.asarray(new), np.asarray(old)
        assert (new.dtype, new.shape) == (old.dtype, old.shape)
        assert new.tobytes() == old.tobytes()


def python(program, *args):
    """Starts a program in a process of its own, which can import the tests."""
    command = [sys.executable, "-c", program, *map(str, args)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=_ROOT)
