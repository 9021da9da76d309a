"""Naive implementation for comparison, used only on request.

All channels of all elements are one array `[*shape, C]`, as in other libraries. Inputs that are
equal for all elements, such as time features, are folded into the first layer's bias here too.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from metarl.kernels.lopt_update.features import FeatureSet, bounded, feature_inputs
from metarl.kernels.lopt_update.moments import Moments, Rates, update_moments
from metarl.kernels.lopt_update.network import Layer

Array = jax.Array


def lopt_update(
    features: FeatureSet,
    layers: Sequence[Layer],
    scale: Array | float,
    parameter: Array,
    gradient: Array,
    moments: Moments,
    rates: Rates,
    exponent: float,
) -> tuple[Array, Moments]:
    """See `metarl.kernels.lopt_update.api.lopt_update`."""
    p, g = parameter.astype(jnp.float32), bounded(features, gradient)
    moments = update_moments(moments, g, rates)
    kinds = features.make(feature_inputs(features, p, g, moments))
    spread = [jnp.broadcast_to(kind, (len(kind), *p.shape)) for kind in kinds]
    units = jnp.moveaxis(jnp.concatenate(spread), 0, -1)
    axes = tuple(range(p.ndim))
    if features.normalizer_axes is not None:
        axes = axes[max(p.ndim - features.normalizer_axes, 0) :]
    mean = jnp.mean(units * units, axes, keepdims=True)
    units = units * jax.lax.rsqrt(features.normalizer_eps + mean)
    for i, layer in enumerate(layers):
        units = jax.nn.relu(units) if i else units
        units = jnp.dot(units, layer.kernel, precision=jax.lax.Precision.HIGHEST)
        units = units + layer.bias.reshape(*[1] * p.ndim, -1)
    step = units[..., 0] * jnp.exp(exponent * units[..., 1]) if exponent else units[..., 0]
    return scale * step, moments
