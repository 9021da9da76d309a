"""Squashing of values against the formulas in float64 and against their own inverses."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from metarl.rl.value_transforms import signed_hyperbolic, signed_log, signed_parabolic

EPS32 = np.finfo(np.float32).eps
# Beyond 1e-6 float64's own cancellation in the formula stays below a float32's eps.
X = np.concatenate([[0.0], *([s * np.logspace(-6, 5, 40)] for s in (-1, 1))], axis=None)
SINGLE = np.float32(X).astype(np.float64)


def by_definition(x, eps):
    return np.sign(x) * (np.sqrt(np.abs(x) + 1) - 1) + eps * x


@pytest.mark.parametrize("eps", [1e-3, 1e-2])
def test_hyperbolic_against_the_formula(eps):
    # A few float32 operations without cancellation: a few eps of relative error.
    got = signed_hyperbolic(jnp.float32(X), eps)
    np.testing.assert_allclose(got, by_definition(SINGLE, eps), rtol=8 * EPS32, atol=1e-15)


@pytest.mark.parametrize("eps", [1e-3, 1e-2])
def test_parabolic_inverts_the_hyperbolic_formula(eps):
    squashed = np.float32(by_definition(X, eps))
    # The inverse's slope is at most 2 relative to its value, times the rounding of its input.
    np.testing.assert_allclose(signed_parabolic(squashed, eps), X, rtol=16 * EPS32)


def test_log_against_the_formula():
    expected = np.sign(SINGLE) * np.log1p(np.abs(SINGLE))
    np.testing.assert_allclose(signed_log(jnp.float32(X)), expected, rtol=8 * EPS32, atol=1e-12)


@pytest.mark.parametrize("transform", [signed_hyperbolic, signed_parabolic, signed_log])
def test_odd_and_increasing(transform):
    y = np.asarray(transform(jnp.float32(np.sort(X))))
    assert np.all(np.diff(y) > 0)
    np.testing.assert_array_equal(transform(-jnp.float32(X)), -transform(jnp.float32(X)))
    assert np.isfinite(jax.grad(transform)(1.0))
