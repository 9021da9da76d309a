"""The update on GPUs: two kernels, written in Pallas and compiled by Triton.

One sums the squares of the channels that vary over elements, tile by tile; XLA adds the tiles up,
always in the same order. The other makes the channels again, applies the network, and writes steps
and, in their place, moments. A tensor's elements are read twice and written once. Averages over
rows and columns, and what comes of them alone, are left to XLA.

Vectors go to the reference, as do the few tensors for which `tiled` is false. Gradients are the
reference's. Batch axes are those of `jax.vmap`, each a further axis of the grid.

There is no kernel for TPUs. Under jax 0.9 a kernel in blocks cannot be lowered for one without the
chip ("Unsupported TPU device kind: cpu"), so nothing could be proved about it here.
"""

from collections.abc import Sequence
from functools import partial
from itertools import accumulate
from typing import Any

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import triton
from metarl.kernels.lopt_update import reference
from metarl.kernels.lopt_update.config import KernelConfig
from metarl.kernels.lopt_update.features import FeatureSet, Ingredients, ingredients
from metarl.kernels.lopt_update.matrices import Matrices, matrices
from metarl.kernels.lopt_update.moments import Factors, Moments, Rates, update_moments
from metarl.kernels.lopt_update.pallas_network import Network, padded, products, unrolled
from metarl.kernels.lopt_update.pallas_tile import Inputs, Place, Tile, look, varying_channels
from metarl.kernels.lopt_update.reference import Layer

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
    config: KernelConfig | None = None,
) -> tuple[Array, Moments]:
    """See `metarl.kernels.lopt_update.api.lopt_update`."""
    arguments = (layers, jnp.float32(scale), parameter, gradient, moments, rates)
    if not tiled(features, parameter.shape):
        return reference.lopt_update(features, *arguments, exponent)
    config = KernelConfig() if config is None else config
    return _update(features, exponent, config, *arguments)


def tiled(features: FeatureSet, shape: Sequence[int]) -> bool:
    """Says whether the kernels do such a tensor.

    They do if two axes at least are longer than 1; if normalisers are means over all axes, or over
    those two, being the last; and if there are one or no mean square and as many factored averages
    as momenta, or none.
    """
    layout = matrices(shape)
    rank, axes = len(shape), features.normaliser_axes
    if layout is None or features.rms > 1 or features.factored not in (0, features.momenta):
        return False
    return axes is None or axes >= rank or (axes == 2 and layout.in_order)


@partial(jax.custom_vjp, nondiff_argnums=(0, 1, 2))
def _update(
    features: FeatureSet,
    exponent: float,
    config: KernelConfig,
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
        rates.momenta,
        None if moments.rms is None else rates.rms,
        layout.lay(gradient[None]),
        layout.lay(parameter[None]),
        layout.lay(moments.momenta),
        None if moments.rms is None else layout.lay(moments.rms),
        None if seen.factors is None else Factors(*(layout.lay(x) for x in seen.factors)),
    )
    first, *others = layers
    places, kernel, rows, columns = _first_layer(features, first, seen, layout)
    squares = _mean_squares(features, config, layout, places, inputs)
    kernel = kernel * jax.lax.rsqrt(features.normaliser_eps + squares)[..., None]
    network = Network(rows, columns, kernel, [Layer(*layer) for layer in others])
    step, momenta, rms = _steps(features, config, layout, places, inputs, network, exponent)
    rms = None if rms is None else layout.back(rms)
    return layout.back(step)[0] * scale, Moments(layout.back(momenta), rms, row, col)


def _before_the_elements(
    features: FeatureSet, parameter: Array, gradient: Array, moments: Moments, rates: Rates
) -> tuple[Ingredients, Array | None, Array | None]:
    """Moves the averages over rows and columns, and gathers what comes of them; momenta are old."""
    p, g = parameter.astype(jnp.float32), gradient.astype(jnp.float32)
    if features.gradient_limit is not None:
        g = jnp.clip(g, -features.gradient_limit, features.gradient_limit)
    without = Moments(moments.momenta[:0], None, moments.row, moments.col)
    new = update_moments(without, g, rates._replace(momenta=rates.momenta[:0]))
    seen = ingredients(features, p, g, moments._replace(row=new.row, col=new.col))
    return seen, new.row, new.col


def _first_layer(
    features: FeatureSet, layer: Layer, seen: Ingredients, layout: Matrices
) -> tuple[list[Place], Array, Array, Array]:
    """Takes out of the first layer what can be known before the elements.

    Returns:
      Kinds of channels that vary over elements; their rows of the kernel, `[C, H]`; what the bias
      and other channels add along rows, `[H, B, rows, 1]`, and along columns, `[H, B, 1, columns]`.
    """
    kinds = jax.eval_shape(features.make, seen)
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
        axes = (2, 3) if _normalised_by_matrix(features, layout) else (1, 2, 3)
        means = jnp.mean(channels * channels, axes, keepdims=True)
        channels = channels * jax.lax.rsqrt(features.normaliser_eps + means)
        side = 0 if channels.shape[3] == 1 else 1
        product = jnp.einsum("ch,c...->h...", kernel, channels, precision="highest")
        sums[side] = sums[side] + product
    return places, jnp.concatenate(kernels), *sums


def _normalised_by_matrix(features: FeatureSet, layout: Matrices) -> bool:
    """Says whether each matrix has normalisers of its own, and not the whole tensor."""
    axes = features.normaliser_axes
    return axes is not None and axes < len(layout.shape)


def _mean_squares(
    features: FeatureSet,
    config: KernelConfig,
    layout: Matrices,
    places: list[Place],
    inputs: Inputs,
) -> Array:
    """Averages the squares of channels that vary over elements, `[1 or B, C]`."""
    size = config.unrolled.tile(layout.rows, layout.columns)
    count = sum(place.count for place in places)

    def kernel(refs: Inputs, sums: Any) -> None:
        tile = Tile(layout, size)
        for i, x in enumerate(varying_channels(features, places, look(features, refs, tile))):
            mask = tile.mask(x.shape, 1)
            squares = x * x if mask is None else jnp.where(mask, x * x, 0.0)
            sums[i] = jnp.sum(squares)

    grid = _grid(layout, size)
    sums = pl.pallas_call(
        kernel,
        jax.ShapeDtypeStruct((*reversed(grid), count), jnp.float32),
        grid=grid,
        in_specs=(_specs(inputs, size),),
        out_specs=pl.BlockSpec((None, None, None, count), lambda j, i, b: (b, i, j, 0)),
        compiler_params=triton.CompilerParams(num_warps=config.unrolled.warps),
        interpret=config.interpret,
        name="lopt_update_statistics",
    )(inputs)
    means = jnp.sum(sums, (1, 2)) / (layout.rows * layout.columns)
    return means if _normalised_by_matrix(features, layout) else jnp.mean(means, 0, keepdims=True)


def _steps(
    features: FeatureSet,
    config: KernelConfig,
    layout: Matrices,
    places: list[Place],
    inputs: Inputs,
    network: Network,
    exponent: float,
) -> tuple[Array, Array, Array | None]:
    """Makes steps and moves moments, in their place; the scale is not in the steps."""
    narrow = network.kernel.shape[-1] <= reference.UNROLLED_WIDTH
    blocks = config.unrolled if narrow else config.products
    size = blocks.tile(layout.rows, layout.columns)
    network = network if narrow else padded(network)

    def kernel(refs: Inputs, network: Network, step: Any, momenta: Any, rms: Any) -> None:
        tile = Tile(layout, size)
        seen = look(features, refs, tile)
        for k, part in enumerate(seen):
            tile.store(momenta, k, part.momenta)
        if rms is not None:
            tile.store(rms, 0, seen[0].rms)
        channels = varying_channels(features, places, seen)
        if narrow:
            made = unrolled(network, tile, channels, exponent)
        else:
            made = products(network, tile, channels, exponent, config.precision)
        tile.store(step, 0, made)

    arguments = (inputs, network)
    number = jax.tree.unflatten(
        jax.tree.structure(arguments), range(len(jax.tree.leaves(arguments)))
    )
    shapes = jax.eval_shape(
        lambda: (inputs.parameter.astype(jnp.float32), inputs.momenta, inputs.rms)
    )
    return pl.pallas_call(
        kernel,
        shapes,
        grid=_grid(layout, size),
        in_specs=(_specs(inputs, size), _network_specs(network, size, narrow)),
        out_specs=jax.tree.map(lambda x: _spec(x, size, 1), shapes),
        input_output_aliases={number[0].momenta: 1}
        | ({number[0].rms: 2} if inputs.rms is not None else {}),
        compiler_params=triton.CompilerParams(num_warps=blocks.warps),
        interpret=config.interpret,
        name="lopt_update_steps",
    )(*arguments)


def _grid(layout: Matrices, size: tuple[int, int]) -> tuple[int, int, int]:
    """Counts programs, `[columns, rows, B]`; the first axis is the fastest."""
    return pl.cdiv(layout.columns, size[1]), pl.cdiv(layout.rows, size[0]), layout.batch


def _specs(inputs: Inputs, size: tuple[int, int]) -> Inputs:
    return jax.tree.map(lambda x: _whole(x) if x.ndim == 1 else _spec(x, size, 1), inputs)


def _network_specs(network: Network, size: tuple[int, int], narrow: bool) -> Network:
    axis = 1 if narrow else 0
    shared = len(network.kernel) == 1
    block = (None, *network.kernel.shape[1:])
    return Network(
        _spec(network.rows, size, axis),
        _spec(network.columns, size, axis),
        pl.BlockSpec(block, lambda j, i, b: (0 if shared else b, 0, 0)),
        jax.tree.map(_whole, network.layers),
    )


def _whole(x: Array) -> pl.BlockSpec:
    return pl.BlockSpec(x.shape, lambda j, i, b: (0,) * x.ndim)


def _spec(x: Any, size: tuple[int, int], axis: int) -> pl.BlockSpec:
    """Cuts axes `[B, rows, columns]` from `axis` on into blocks; if of size 1 they stay."""
    block: list[int | None] = list(x.shape)
    block[axis] = None
    for i in (0, 1):
        if x.shape[axis + 1 + i] > 1:
            block[axis + 1 + i] = size[i]

    def index(j: Any, i: Any, b: Any) -> tuple[Any, ...]:
        programs = [0] * axis + [b, i, j] + [0] * (x.ndim - axis - 3)
        return tuple(p if n > 1 else 0 for p, n in zip(programs, x.shape, strict=True))

    return pl.BlockSpec(tuple(block), index)


def _forward(
    features: FeatureSet, exponent: float, config: KernelConfig, *arguments: Any
) -> tuple[tuple[Array, Moments], Any]:
    return _update(features, exponent, config, *arguments), arguments


def _backward(
    features: FeatureSet, exponent: float, config: KernelConfig, arguments: Any, cotangents: Any
) -> Any:
    def run(*arguments: Any) -> tuple[Array, Moments]:
        return reference.lopt_update(features, *arguments, exponent)

    return jax.vjp(run, *arguments)[1](cotangents)


_update.defvjp(_forward, _backward)
