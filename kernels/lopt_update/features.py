"""Input features (channels) of per-parameter networks, as a tuple of named functions.

A channel is an array that broadcasts against the tensor: it has the tensor's shape if it varies
over elements, and axes of size 1 if it varies only along rows or columns. Channels of one kind are
one array `[K, ...]`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
from metarl.kernels.lopt_update.moments import Factors, Moments, factors, finite, init_moments

Array = jax.Array


class FeatureInputs(NamedTuple):
    """Inputs of the channel functions; the axis of averages is first.

    Attributes:
      gradient, parameter: arrays `[*shape]`, float32.
      momenta: running means of the gradient, `[M, *shape]`.
      rms: running mean squares `[V, *shape]`, or None.
      factors: factors of the factored mean squares, or None.
      momentum_row_scale: row scale for momenta; differs from `factors.row_scale` at rank 0 and 1.
    """

    gradient: Array
    parameter: Array
    momenta: Array
    rms: Array | None
    factors: Factors | None
    momentum_row_scale: Array | None


Channels: TypeAlias = "Callable[[FeatureInputs, FeatureSet], Array]"
"""Function that computes the channels of one kind, `[K, ...]`."""


@dataclass(frozen=True)
class FeatureSet:
    """The channels of a learned optimizer, in the order of its first layer's rows.

    Every channel is divided by its root mean square over the tensor. Inputs that are equal for all
    elements, such as time features, are folded into the first layer's bias instead.

    Attributes:
      channels: channel functions, one for each kind.
      momenta, rms, factored: numbers M, V and F of averages of each kind; F is M or 0.
      gradient_limit: bound of elementwise gradient clipping before all else; None = no clipping.
      channel_limit: bound of the channel `clipped_gradient`.
      rms_eps: constant added to a mean square before the root.
      factored_eps: the same constant for averages over rows and columns.
      vector_momentum_eps: the same constant for scaling momenta at rank 0 and 1.
      normalizer_eps: constant added to the mean square of a channel.
      normalizer_axes: number of last axes of that mean; None = all axes.
    """

    channels: tuple[Channels, ...]
    momenta: int = 3
    rms: int = 1
    factored: int = 3
    gradient_limit: float | None = None
    channel_limit: float = 0.1
    rms_eps: float = 1e-6
    factored_eps: float = 1e-8
    vector_momentum_eps: float = 1e-6
    normalizer_eps: float = 1e-5
    normalizer_axes: int | None = None

    def make(self, inputs: FeatureInputs) -> list[Array]:
        """Computes all channels in order: one array `[K, ...]` for each kind."""
        return [channels(inputs, self) for channels in self.channels]

    @property
    def count(self) -> int:
        """Number of channels."""
        return _count(self)


@cache
def _count(features: FeatureSet) -> int:
    def made() -> list[Array]:
        moments = init_moments((1,), features.momenta, features.rms, features.factored)
        one = jnp.zeros(1, jnp.float32)
        return features.make(feature_inputs(features, one, one, moments))

    return sum(kind.shape[0] for kind in jax.eval_shape(made))


def bounded(features: FeatureSet, gradient: Array) -> Array:
    """Replaces non-finite elements, clips to `gradient_limit`, casts to float32."""
    g = finite(gradient)
    if features.gradient_limit is None:
        return g
    return jnp.clip(g, -features.gradient_limit, features.gradient_limit)


def feature_inputs(features: FeatureSet, p: Array, g: Array, moments: Moments) -> FeatureInputs:
    """Collects the inputs of channels from updated moments; `p` and `g` are float32."""
    f = factors(moments, p.shape)
    momentum_row_scale = None if f is None else f.row_scale
    if p.ndim < 2 and moments.row is not None:
        momentum_row_scale = jax.lax.rsqrt(moments.row + features.vector_momentum_eps)
    return FeatureInputs(g, p, moments.momenta, moments.rms, f, momentum_row_scale)


def gradient(x: FeatureInputs, features: FeatureSet) -> Array:
    """Gradient g."""
    return x.gradient[None]


def clipped_gradient(x: FeatureInputs, features: FeatureSet) -> Array:
    """Gradient g, clipped to `channel_limit`."""
    return jnp.clip(x.gradient, -features.channel_limit, features.channel_limit)[None]


def parameter(x: FeatureInputs, features: FeatureSet) -> Array:
    """Parameter p."""
    return x.parameter[None]


def momenta(x: FeatureInputs, features: FeatureSet) -> Array:
    """Momenta m, one for each rate."""
    return x.momenta


def rms(x: FeatureInputs, features: FeatureSet) -> Array:
    """Mean squares v (not their roots), one for each rate."""
    return _rms(x)


def scaled_momenta(x: FeatureInputs, features: FeatureSet) -> Array:
    """Scaled momenta `m rsqrt(v + eps)`, with the first v."""
    return x.momenta * inverse_rms(x, features)[:1]


def inverse_rms(x: FeatureInputs, features: FeatureSet) -> Array:
    """Inverse root mean squares `rsqrt(v + eps)`, one for each rate."""
    return jax.lax.rsqrt(_rms(x) + features.rms_eps)


def scaled_gradient(x: FeatureInputs, features: FeatureSet) -> Array:
    """Scaled gradient `g rsqrt(v + eps)`, one for each rate of v."""
    return x.gradient[None] * inverse_rms(x, features)


def factored_gradient(x: FeatureInputs, features: FeatureSet) -> Array:
    """Gradient divided by the root of its factored mean square, one for each rate."""
    f = _factors(x)
    return x.gradient[None] * f.row_scale * f.col_scale


def rows(x: FeatureInputs, features: FeatureSet) -> Array:
    """Mean squares of rows, one for each rate."""
    return _factors(x).row


def columns(x: FeatureInputs, features: FeatureSet) -> Array:
    """Mean squares of columns, one for each rate."""
    return _factors(x).col


def inverse_rows(x: FeatureInputs, features: FeatureSet) -> Array:
    """Inverse roots `rsqrt(row + eps)`, one for each rate."""
    return jax.lax.rsqrt(_factors(x).row + features.factored_eps)


def inverse_columns(x: FeatureInputs, features: FeatureSet) -> Array:
    """Inverse roots `rsqrt(column + eps)`, one for each rate."""
    return jax.lax.rsqrt(_factors(x).col + features.factored_eps)


def factored_momenta(x: FeatureInputs, features: FeatureSet) -> Array:
    """Momenta divided by the root of the gradient's factored mean square, one for each rate."""
    assert x.momentum_row_scale is not None
    return x.momenta * x.momentum_row_scale * _factors(x).col_scale


def _rms(x: FeatureInputs) -> Array:
    assert x.rms is not None, "the feature set keeps no mean squares"
    return x.rms


def _factors(x: FeatureInputs) -> Factors:
    assert x.factors is not None, "the feature set keeps no factored mean squares"
    return x.factors
