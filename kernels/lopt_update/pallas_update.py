"""Device-independent part of the Pallas implementations: two kernels for each tensor.

The first sums the squares of the channels that vary over elements, tile by tile; XLA sums the tiles
in a deterministic order. The second recomputes the channels, applies the network, and writes steps
and, in place, moments. Elements are read twice and written once. XLA computes averages over rows
and columns, and channels that depend on them only.

The reference computes vectors and the few tensors for which `tiled` is false. Derivatives are the
reference's. Each `jax.vmap` axis becomes a further axis of the grid.
"""

from collections.abc import Sequence
from functools import partial
from itertools import accumulate

import jax
import jax.numpy as jnp
from metarl.kernels.lopt_update import reference
from metarl.kernels.lopt_update.config import KernelConfig
from metarl.kernels.lopt_update.features import FeatureInputs, FeatureSet, bounded, feature_inputs
from metarl.kernels.lopt_update.matrices import Matrices, matrices
from metarl.kernels.lopt_update.moments import Factors, Moments, Rates, update_moments
from metarl.kernels.lopt_update.network import Layer
from metarl.kernels.lopt_update.pallas_calls import Device, mean_squares, steps
from metarl.kernels.lopt_update.pallas_network import Network
from metarl.kernels.lopt_update.pallas_tile import Inputs, Place

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
    config: KernelConfig,
    device: Device,
) -> tuple[Array, Moments]:
    """See `metarl.kernels.lopt_update.api.lopt_update`."""
    arguments = (layers, jnp.float32(scale), parameter, gradient, moments, rates)
    if not tiled(features, parameter.shape):
        return reference.step_or_parameter(features, *arguments, exponent, in_place=config.in_place)
    run = partial(_update, features, exponent, config, device)
    return reference.with_derivative(features, exponent, config.in_place, run)(*arguments)


def tiled(features: FeatureSet, shape: Sequence[int]) -> bool:
    """Returns whether the kernels support such a tensor.

    Conditions: at least two axes are longer than 1; normalizers average over all axes, or over
    these two if they are the last; there is at most one mean square; and the number of factored
    averages is that of momenta or zero.
    """
    layout = matrices(shape)
    rank, axes = len(shape), features.normalizer_axes
    if layout is None or features.rms > 1 or features.factored not in (0, features.momenta):
        return False
    return axes is None or axes >= rank or (axes == 2 and layout.in_order)


def _update(
    features: FeatureSet,
    exponent: float,
    config: KernelConfig,
    device: Device,
    layers: Sequence[Layer],
    scale: Array,
    parameter: Array,
    gradient: Array,
    moments: Moments,
    rates: Rates,
) -> tuple[Array, Moments]:
    layout = matrices(parameter.shape)
    assert layout is not None
    inputs, row, col = _update_factored(features, parameter, gradient, moments, rates)
    arrays = Inputs(
        rates.momenta[None],
        None if moments.rms is None else rates.rms[None],
        layout.pack(gradient[None]),
        layout.pack(parameter[None]),
        layout.pack(moments.momenta),
        None if moments.rms is None else layout.pack(moments.rms),
        None if inputs.factors is None else Factors(*(layout.pack(x) for x in inputs.factors)),
    )
    first, *others = _scaled(layers, scale)
    places, kernel, rows, columns = _first_layer(features, first, inputs, layout)
    squares = mean_squares(features, config, device, layout, places, arrays)
    if not _normalized_per_matrix(features, layout):
        squares = jnp.mean(squares, 0, keepdims=True)
    kernel = kernel[None] * jax.lax.rsqrt(features.normalizer_eps + squares)[..., None]
    network = Network(rows, columns, kernel, [Layer(k, b[None]) for k, b in others])
    step, momenta, rms = steps(features, config, device, layout, places, arrays, network, exponent)
    rms = None if rms is None else layout.unpack(rms)
    return layout.unpack(step)[0], Moments(layout.unpack(momenta), rms, row, col)


def _update_factored(
    features: FeatureSet, parameter: Array, gradient: Array, moments: Moments, rates: Rates
) -> tuple[FeatureInputs, Array | None, Array | None]:
    """Updates row and column averages and returns feature inputs with the old momenta."""
    p, g = parameter.astype(jnp.float32), bounded(features, gradient)
    without = Moments(moments.momenta[:0], None, moments.row, moments.col)
    new = update_moments(without, g, rates._replace(momenta=rates.momenta[:0]))
    inputs = feature_inputs(features, p, g, moments._replace(row=new.row, col=new.col))
    return inputs, new.row, new.col


def _first_layer(
    features: FeatureSet, layer: Layer, inputs: FeatureInputs, layout: Matrices
) -> tuple[list[Place], Array, Array, Array]:
    """Splits the first layer into elementwise channels and precomputed contributions.

    Products are unrolled because they are thin: XLA would launch several programs for each.

    Returns:
      Kinds of channels that vary over elements; their rows of the kernel, `[C, H]`; contributions
      of the bias and the other channels along rows, `[H, B, rows, 1]`, and along columns,
      `[H, B, 1, columns]`.
    """
    kinds = jax.eval_shape(features.make, inputs)
    axes = (2, 3) if _normalized_per_matrix(features, layout) else (1, 2, 3)
    starts = accumulate((kind.shape[0] for kind in kinds), initial=0)
    places, kernels = [], []
    sides = [(layout.batch, layout.rows, 1), (layout.batch, 1, layout.columns)]
    sums = [jnp.zeros((len(layer.bias), *side), jnp.float32) for side in sides]
    sums[0] = sums[0] + layer.bias.reshape(-1, 1, 1, 1)
    for i, (start, kind) in enumerate(zip(starts, kinds, strict=False)):
        kernel = layer.kernel[start : start + kind.shape[0]]
        if kind.shape[1:] == layout.shape:
            places.append(Place(i, kind.shape[0]))
            kernels.append(kernel)
            continue
        channels = layout.pack(features.channels[i](inputs, features))
        means = jnp.mean(channels * channels, axes, keepdims=True)
        channels = channels * jax.lax.rsqrt(features.normalizer_eps + means)
        side = 0 if channels.shape[3] == 1 else 1
        for weights, channel in zip(kernel, channels, strict=True):
            sums[side] = sums[side] + weights.reshape(-1, 1, 1, 1) * channel[None]
    return places, jnp.concatenate(kernels), sums[0], sums[1]


def _scaled(layers: Sequence[Layer], scale: Array) -> list[Layer]:
    """Folds the scale of the step into the first output of a network."""
    *others, last = layers
    factors = jnp.where(jnp.arange(len(last.bias)) == 0, scale, 1.0)
    return [*others, Layer(last.kernel * factors[None], last.bias * factors)]


def _normalized_per_matrix(features: FeatureSet, layout: Matrices) -> bool:
    """Returns whether normalizers are per matrix, not per tensor."""
    axes = features.normalizer_axes
    return axes is not None and axes < len(layout.shape)
