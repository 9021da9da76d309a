"""The update by two kernels, for whatever device they are compiled.

One sums the squares of the channels that vary over elements, tile by tile; XLA adds the tiles up,
always in the same order. The other makes the channels again, applies the network, and writes steps
and, in their place, moments. A tensor's elements are read twice and written once. Averages over
rows and columns, and what comes of them alone, are left to XLA.

Vectors go to the reference, as do the few tensors for which `tiled` is false. Gradients are the
reference's. Batch axes are those of `jax.vmap`, each a further axis of the grid.
"""

from collections.abc import Sequence
from functools import partial
from itertools import accumulate

import jax
import jax.numpy as jnp

from metarl.kernels.lopt_update import reference
from metarl.kernels.lopt_update.config import KernelConfig
from metarl.kernels.lopt_update.features import FeatureSet, Ingredients, bounded, ingredients
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
        return reference.ends(features, *arguments, exponent, in_place=config.in_place)
    run = partial(_update, features, exponent, config, device)
    return reference.with_derivative(features, exponent, config.in_place, run)(*arguments)


def tiled(features: FeatureSet, shape: Sequence[int]) -> bool:
    """Says whether the kernels do such a tensor.

    They do if two axes at least are longer than 1; if normalisers are means over all axes, or over
    those two, being the last; and if there are one or no mean square and as many factored averages
    as momenta, or none.
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
    seen, row, col = _before_the_elements(features, parameter, gradient, moments, rates)
    inputs = Inputs(
        rates.momenta[None],
        None if moments.rms is None else rates.rms[None],
        layout.lay(gradient[None]),
        layout.lay(parameter[None]),
        layout.lay(moments.momenta),
        None if moments.rms is None else layout.lay(moments.rms),
        None if seen.factors is None else Factors(*(layout.lay(x) for x in seen.factors)),
    )
    first, *others = _scaled(layers, scale)
    places, kernel, rows, columns = _first_layer(features, first, seen, layout)
    squares = mean_squares(features, config, device, layout, places, inputs)
    if not _normalised_by_matrix(features, layout):
        squares = jnp.mean(squares, 0, keepdims=True)
    kernel = kernel[None] * jax.lax.rsqrt(features.normalizer_eps + squares)[..., None]
    network = Network(rows, columns, kernel, [Layer(k, b[None]) for k, b in others])
    step, momenta, rms = steps(features, config, device, layout, places, inputs, network, exponent)
    rms = None if rms is None else layout.back(rms)
    return layout.back(step)[0], Moments(layout.back(momenta), rms, row, col)


def _before_the_elements(
    features: FeatureSet, parameter: Array, gradient: Array, moments: Moments, rates: Rates
) -> tuple[Ingredients, Array | None, Array | None]:
    """Moves the averages over rows and columns, and gathers what comes of them; momenta are old."""
    p, g = parameter.astype(jnp.float32), bounded(features, gradient)
    without = Moments(moments.momenta[:0], None, moments.row, moments.col)
    new = update_moments(without, g, rates._replace(momenta=rates.momenta[:0]))
    seen = ingredients(features, p, g, moments._replace(row=new.row, col=new.col))
    return seen, new.row, new.col


def _first_layer(
    features: FeatureSet, layer: Layer, seen: Ingredients, layout: Matrices
) -> tuple[list[Place], Array, Array, Array]:
    """Takes out of the first layer what can be known before the elements.

    Products are spelt out, because they are thin: XLA would launch several programs for each.

    Returns:
      Kinds of channels that vary over elements; their rows of the kernel, `[C, H]`; what the bias
      and other channels add along rows, `[H, B, rows, 1]`, and along columns, `[H, B, 1, columns]`.
    """
    kinds = jax.eval_shape(features.make, seen)
    axes = (2, 3) if _normalised_by_matrix(features, layout) else (1, 2, 3)
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
        channels = layout.lay(features.channels[i](seen, features))
        means = jnp.mean(channels * channels, axes, keepdims=True)
        channels = channels * jax.lax.rsqrt(features.normalizer_eps + means)
        side = 0 if channels.shape[3] == 1 else 1
        for weights, channel in zip(kernel, channels, strict=True):
            sums[side] = sums[side] + weights.reshape(-1, 1, 1, 1) * channel[None]
    return places, jnp.concatenate(kernels), sums[0], sums[1]


def _scaled(layers: Sequence[Layer], scale: Array) -> list[Layer]:
    """Scales the first output of a network, so that no pass over the steps is needed."""
    *others, last = layers
    factors = jnp.where(jnp.arange(len(last.bias)) == 0, scale, 1.0)
    return [*others, Layer(last.kernel * factors[None], last.bias * factors)]


def _normalised_by_matrix(features: FeatureSet, layout: Matrices) -> bool:
    """Says whether each matrix has normalisers of its own, and not the whole tensor."""
    axes = features.normalizer_axes
    return axes is not None and axes < len(layout.shape)
