"""Running averages of one tensor's gradients: momenta, second moments, factored second moments.

The axis of averages is first, `[K, *shape]`, so that each average is contiguous.
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp

Array = jax.Array

SQUARE_EPS = 1e-30
"""Constant added to a squared gradient before the average over rows or columns."""

FACTOR_EPS = 1e-9
"""Minimum argument of the root in a factor; also added to the mean of the rows."""


GRADIENT_LIMIT = 1e6
"""Clipping bound: sums of fourth powers of larger gradients overflow float32."""


class Rates(NamedTuple):
    """Rates of the running averages, one minus the decay; rate r has a horizon of 1 / r steps.

    Rates replace decays because 1 - 0.9999 in float32 is wrong in the fourth digit.

    Attributes:
      momenta: rates of the averages of the gradient, `[M]`.
      rms: rates of the averages of its square, `[V]`.
      factored: rates of the averages of its square over rows and columns, `[F]`.
    """

    momenta: Array
    rms: Array
    factored: Array


class Moments(NamedTuple):
    """Running averages of one tensor, float32, initialized at zero without bias correction.

    d0 is the largest axis, d1 the second largest (see `factored_axes`).

    Attributes:
      momenta: averages of the gradient, `[M, *shape]`.
      rms: averages of its square, `[V, *shape]`; None if V = 0.
      row: averages of its mean square over d0, `[F, *shape without d0]`; at rank 0 and 1 averages
        of its square, `[F, *shape]`; None if F = 0.
      col: averages of its mean square over d1, `[F, *shape without d1]`; None at rank 0 and 1, or
        if F = 0.
    """

    momenta: Array
    rms: Array | None
    row: Array | None
    col: Array | None


class Factors(NamedTuple):
    """Factored averages, broadcastable against the tensor.

    Arrays are `[F, ...]`, with size 1 along axes on which they are constant. At rank 0 and 1 both
    averages are those of the element itself.

    Attributes:
      row, col: averages over d0 and d1.
      row_scale, col_scale: factors whose product scales the gradient.
    """

    row: Array
    col: Array
    row_scale: Array
    col_scale: Array


def factored_axes(shape: Sequence[int]) -> tuple[int, int] | None:
    """Returns the two largest axes `(d1, d0)`, d0 the largest; None at rank 0 and 1.

    Among equal sizes the later axis counts as larger.
    """
    if len(shape) < 2:
        return None
    order = sorted(range(len(shape)), key=lambda axis: (shape[axis], axis))
    return order[-2], order[-1]


def init_moments(shape: Sequence[int], momenta: int, rms: int, factored: int) -> Moments:
    """Returns the initial averages of a tensor, zeros."""
    shape = tuple(shape)
    axes = factored_axes(shape)
    row, col = shape, None
    if axes is not None:
        d1, d0 = axes
        row, col = _without(shape, d0), _without(shape, d1)
    return Moments(
        jnp.zeros((momenta, *shape), jnp.float32),
        jnp.zeros((rms, *shape), jnp.float32) if rms else None,
        jnp.zeros((factored, *row), jnp.float32) if factored else None,
        jnp.zeros((factored, *col), jnp.float32) if factored and col is not None else None,
    )


def update_moments(moments: Moments, gradient: Array, rates: Rates) -> Moments:
    """Updates every average with a gradient: `a' = a + r (x - a)`.

    Args:
      moments: averages of this tensor.
      gradient: gradient `[*shape]`, float32.
      rates: rates of the averages.
    """
    square = gradient * gradient
    momenta = _average(rates.momenta, moments.momenta, gradient)
    rms = None if moments.rms is None else _average(rates.rms, moments.rms, square)
    moments = Moments(momenta, rms, moments.row, moments.col)
    if moments.row is None:
        return moments
    axes = factored_axes(gradient.shape)
    if axes is None:
        return moments._replace(row=_average(rates.factored, moments.row, square + SQUARE_EPS))
    d1, d0 = axes
    return move_factored(moments, jnp.mean(square, d0), jnp.mean(square, d1), rates)


def move_factored(moments: Moments, over_d0: Array, over_d1: Array, rates: Rates) -> Moments:
    """Updates the row and column averages of a tensor with two factored axes, if present.

    Args:
      over_d0, over_d1: mean squares of the gradient over each axis.
    """
    if moments.row is None or moments.col is None:
        return moments
    row = _average(rates.factored, moments.row, over_d0 + SQUARE_EPS)
    col = _average(rates.factored, moments.col, over_d1 + SQUARE_EPS)
    return moments._replace(row=row, col=col)


def factors(moments: Moments, shape: Sequence[int]) -> Factors | None:
    """Returns the factored averages and their scales, broadcastable against the tensor.

    `row_scale = rsqrt(row / mean(row))`, `col_scale = rsqrt(col)`, both with an epsilon; at rank 0
    and 1 `row_scale = rsqrt(v + 1e-9)` and `col_scale = 1`.
    """
    if moments.row is None:
        return None
    axes = factored_axes(shape)
    if axes is None or moments.col is None:
        v = moments.row
        ones = jnp.ones((v.shape[0],) + (1,) * len(shape), jnp.float32)
        return Factors(v, v, safe_rsqrt(v + FACTOR_EPS), ones)
    d1, d0 = axes
    row, col = jnp.expand_dims(moments.row, 1 + d0), jnp.expand_dims(moments.col, 1 + d1)
    mean = jnp.mean(row, 1 + d1, keepdims=True)
    return Factors(row, col, safe_rsqrt(row / (mean + FACTOR_EPS)), safe_rsqrt(col))


def finite(gradient: Array) -> Array:
    """Casts to float32, replaces non-finite elements by zero, clips to `GRADIENT_LIMIT`."""
    g = gradient.astype(jnp.float32)
    return jnp.clip(jnp.where(jnp.isfinite(g), g, 0.0), -GRADIENT_LIMIT, GRADIENT_LIMIT)


def safe_rsqrt(x: Array) -> Array:
    """Computes `1 / sqrt(max(x, 1e-9))`."""
    return jax.lax.rsqrt(jnp.maximum(x, FACTOR_EPS))


def _average(rate: Array, old: Array, new: Array) -> Array:
    return old + jnp.reshape(rate, (-1,) + (1,) * new.ndim) * (new[None] - old)


def _without(shape: tuple[int, ...], axis: int) -> tuple[int, ...]:
    return shape[:axis] + shape[axis + 1 :]
