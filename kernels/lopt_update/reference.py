"""Reference implementation in plain jnp, the specification of this operation.

Normalizers are folded into rows of the first kernel, and channels that vary only along rows or
columns pass the first layer before they broadcast over the tensor. So no array of all channels of
all elements exists.
"""

from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import Any

import jax
import jax.numpy as jnp
from metarl.kernels.lopt_update.features import FeatureInputs, FeatureSet, bounded, feature_inputs
from metarl.kernels.lopt_update.moments import Moments, Rates, update_moments
from metarl.kernels.lopt_update.network import Design, Layer, Weights, product, steps
from metarl.kernels.lopt_update.tiles import partial_means

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
    inputs = feature_inputs(features, p, g, moments)
    return steps(*fold(features, layers, exponent, inputs), inputs) * scale, moments


def apply_step(parameter: Array, step: Array) -> Array:
    """Returns `parameter - step`, computed in float32, in the parameter's dtype."""
    return (parameter.astype(jnp.float32) - step).astype(parameter.dtype)


def step_or_parameter(
    features: FeatureSet, *arguments: Any, in_place: bool, update: Any = lopt_update
) -> tuple[Array, Moments]:
    """Returns the step, or with `in_place` the updated parameter; and the new moments."""
    step, moments = update(features, *arguments)
    return (apply_step(arguments[2], step) if in_place else step), moments


def with_derivative(
    features: FeatureSet,
    exponent: float,
    in_place: bool,
    run: Callable[..., tuple[Array, Moments]],
) -> Callable[..., tuple[Array, Moments]]:
    """Returns `run` with the derivative of the reference.

    Args:
      run: function of `layers, scale, parameter, gradient, moments, rates` that returns the new
        parameter if `in_place`, else the step, and the new moments.
    """

    def plain(*arguments: Any) -> tuple[Array, Moments]:
        return step_or_parameter(features, *arguments, exponent, in_place=in_place)

    def forward(*arguments: Any) -> tuple[tuple[Array, Moments], Any]:
        return update(*arguments), arguments

    def backward(arguments: Any, cotangents: Any) -> Any:
        return jax.vjp(plain, *arguments)[1](cotangents)

    update = jax.custom_vjp(run)
    update.defvjp(forward, backward)
    return update


def fold(
    features: FeatureSet,
    layers: Sequence[Layer],
    exponent: float,
    inputs: FeatureInputs,
    averages: Callable[..., Array] = partial_means,
) -> tuple[Design, Weights]:
    """Folds normalizers and channels that do not vary over elements into the first layer.

    Args:
      averages: function that averages the squares of channels that vary over elements.
    """
    first, *others = layers
    shape = inputs.gradient.shape
    kinds = features.make(inputs)
    starts = [0, *accumulate(len(kind) for kind in kinds)]
    by_shape: dict[tuple[int, ...], list[int]] = {}
    for i, kind in enumerate(kinds):
        by_shape.setdefault(kind.shape[1:], []).append(i)

    def kernel_of(places: Sequence[int]) -> Array:
        return jnp.concatenate([first.kernel[starts[i] : starts[i + 1]] for i in places])

    varying = by_shape.pop(shape, [])
    rest = [jnp.reshape(first.bias, (-1,) + (1,) * len(shape))]
    for places in by_shape.values():
        channels = jnp.concatenate([kinds[i] for i in places])
        means = jnp.mean(channels * channels, _normalizer_axes(features, shape, 1), keepdims=True)
        channels = channels * jax.lax.rsqrt(features.normalizer_eps + means)
        rest.append(product(kernel_of(places), channels))

    def squares(part: FeatureInputs) -> list[Array]:
        made = features.make(part)
        return [made[i] * made[i] for i in varying]

    means = averages(squares, inputs, shape, _normalizer_axes(features, shape, 0))
    scales: Array | None = jax.lax.rsqrt(features.normalizer_eps + means)
    kernel = kernel_of(varying)
    if scales is not None and scales.size == len(kernel):
        kernel, scales = kernel * scales.reshape(-1, 1), None
    return Design(features, tuple(varying), exponent), Weights(kernel, scales, rest, others)


def _normalizer_axes(features: FeatureSet, shape: Sequence[int], lead: int) -> tuple[int, ...]:
    """Returns the axes of a normalizer's mean, offset by `lead` leading axes."""
    rank = len(shape)
    first = 0 if features.normalizer_axes is None else max(rank - features.normalizer_axes, 0)
    return tuple(range(lead + first, lead + rank))
