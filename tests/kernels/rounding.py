"""What one rounding may do."""

import numpy as np
from jax import numpy as jnp


def assert_rounded_once(got, exact, atol):
    """Compares with exact numbers: half a unit in the last place of the dtype, and `atol`."""
    assert got.shape == exact.shape
    exponent = np.frexp(exact)[1] - 1
    half = 2.0 ** (exponent - jnp.finfo(got.dtype).nmant - 1)
    off = np.abs(np.float64(got) - exact) - half
    assert np.all(off <= atol), f"{off.max():.3g} beyond a rounding; permitted are {atol:.3g}"
