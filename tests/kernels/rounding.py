"""Comparison within one rounding."""

import numpy as np
from jax import numpy as jnp


def assert_rounded_once(got, exact, atol):
    """Compares with exact values within half a unit in the last place, plus `atol`."""
    assert got.shape == exact.shape
    exponent = np.frexp(exact)[1] - 1
    half = 2.0 ** (exponent - jnp.finfo(got.dtype).nmant - 1)
    off = np.abs(np.float64(got) - exact) - half
    assert np.all(off <= atol), f"{off.max():.3g} beyond a rounding; permitted are {atol:.3g}"
