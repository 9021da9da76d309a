"""What a learned optimizer sees of a parameter: channels, named functions put together as data.

A channel is an array that broadcasts against the tensor: of its shape if it differs from element to
element, with axes of size 1 if it varies only along rows or columns. Channels of one kind are one
array `[K, ...]`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple, TypeAlias

import jax
import jax.numpy as jnp

from metarl.kernels.lopt_update.moments import Factors, Moments, factors, finite, init_moments

Array = jax.Array


class Ingredients(NamedTuple):
    """What channels are made of; arrays of averages have those first.

    Attributes:
      gradient, parameter: `[*shape]`, float32.
      momenta: `[M, *shape]`.
      rms: `[V, *shape]`, or None.
      factors: of the factored averages, or None.
      momentum_row_scale: `factors.row_scale` for momenta; it differs at rank 0 and 1 only.
    """

    gradient: Array
    parameter: Array
    momenta: Array
    rms: Array | None
    factors: Factors | None
    momentum_row_scale: Array | None


Channels: TypeAlias = "Callable[[Ingredients, FeatureSet], Array]"
"""Makes the channels of one kind, `[K, ...]`."""


@dataclass(frozen=True)
class FeatureSet:
    """The channels of a learned optimizer, in the order of its first layer's rows.

    Every channel is divided by its root mean square over the tensor. What is the same for all
    elements, such as time, belongs into the first layer's bias and not here.

    Attributes:
      channels: functions that make them.
      momenta, rms, factored: M, V and F, how many averages of each kind there are; F is M or 0.
      gradient_limit: gradients are clipped elementwise to plus and minus this before anything
        else; None = they are not.
      channel_limit: to which the channel of the clipped gradient is clipped.
      rms_eps: added to a mean square before the root.
      factored_eps: the same for averages over rows and columns.
      vector_momentum_eps: the same at rank 0 and 1, where momenta are scaled by them.
      normalizer_eps: added to the mean square of a channel.
      normalizer_axes: how many axes, from the last, that mean goes over; None = all.
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

    def make(self, ingredients: Ingredients) -> list[Array]:
        """Makes all channels, in order: arrays `[K, ...]`, one a kind."""
        return [channels(ingredients, self) for channels in self.channels]

    @property
    def count(self) -> int:
        """Number of channels."""
        return _count(self)


@cache
def _count(features: FeatureSet) -> int:
    def made() -> list[Array]:
        moments = init_moments((1,), features.momenta, features.rms, features.factored)
        one = jnp.zeros(1, jnp.float32)
        return features.make(ingredients(features, one, one, moments))

    return sum(kind.shape[0] for kind in jax.eval_shape(made))


def bounded(features: FeatureSet, gradient: Array) -> Array:
    """Makes a gradient finite, and clips it to the features' limit; float32."""
    g = finite(gradient)
    if features.gradient_limit is None:
        return g
    return jnp.clip(g, -features.gradient_limit, features.gradient_limit)


def ingredients(features: FeatureSet, p: Array, g: Array, moments: Moments) -> Ingredients:
    """Gathers what channels are made of, from updated moments; `p` and `g` are float32."""
    f = factors(moments, p.shape)
    momentum_row_scale = None if f is None else f.row_scale
    if p.ndim < 2 and moments.row is not None:
        momentum_row_scale = jax.lax.rsqrt(moments.row + features.vector_momentum_eps)
    return Ingredients(g, p, moments.momenta, moments.rms, f, momentum_row_scale)


def gradient(x: Ingredients, features: FeatureSet) -> Array:
    """g."""
    return x.gradient[None]


def clipped_gradient(x: Ingredients, features: FeatureSet) -> Array:
    """g, clipped to `channel_limit`."""
    return jnp.clip(x.gradient, -features.channel_limit, features.channel_limit)[None]


def parameter(x: Ingredients, features: FeatureSet) -> Array:
    """p."""
    return x.parameter[None]


def momenta(x: Ingredients, features: FeatureSet) -> Array:
    """m, one a rate."""
    return x.momenta


def rms(x: Ingredients, features: FeatureSet) -> Array:
    """Mean square v (not its root), one a rate."""
    return _rms(x)


def scaled_momenta(x: Ingredients, features: FeatureSet) -> Array:
    """`m rsqrt(v + eps)`, with the first v."""
    return x.momenta * inverse_rms(x, features)[:1]


def inverse_rms(x: Ingredients, features: FeatureSet) -> Array:
    """`rsqrt(v + eps)`, one a rate."""
    return jax.lax.rsqrt(_rms(x) + features.rms_eps)


def scaled_gradient(x: Ingredients, features: FeatureSet) -> Array:
    """`g rsqrt(v + eps)`, one a rate of v."""
    return x.gradient[None] * inverse_rms(x, features)


def factored_gradient(x: Ingredients, features: FeatureSet) -> Array:
    """g divided by the root of its factored mean square, one a rate."""
    f = _factors(x)
    return x.gradient[None] * f.row_scale * f.col_scale


def rows(x: Ingredients, features: FeatureSet) -> Array:
    """Mean square of a row, one a rate."""
    return _factors(x).row


def columns(x: Ingredients, features: FeatureSet) -> Array:
    """Mean square of a column, one a rate."""
    return _factors(x).col


def inverse_rows(x: Ingredients, features: FeatureSet) -> Array:
    """`rsqrt(row + eps)`, one a rate."""
    return jax.lax.rsqrt(_factors(x).row + features.factored_eps)


def inverse_columns(x: Ingredients, features: FeatureSet) -> Array:
    """`rsqrt(column + eps)`, one a rate."""
    return jax.lax.rsqrt(_factors(x).col + features.factored_eps)


def factored_momenta(x: Ingredients, features: FeatureSet) -> Array:
    """m divided by the root of the gradient's factored mean square, one a rate."""
    assert x.momentum_row_scale is not None
    return x.momenta * x.momentum_row_scale * _factors(x).col_scale


def _rms(x: Ingredients) -> Array:
    assert x.rms is not None, "the feature set keeps no mean squares"
    return x.rms


def _factors(x: Ingredients) -> Factors:
    assert x.factors is not None, "the feature set keeps no factored mean squares"
    return x.factors
