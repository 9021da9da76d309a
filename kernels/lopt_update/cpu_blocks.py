"""CPU implementation: the reference's arithmetic, block by block.

XLA on CPU materializes parts of an expression and starts all tensors of a program concurrently. In
blocks these intermediates stay in the cache. The reference computes vectors, small tensors, and
tensors whose normalizers average over some axes only. Derivatives are the reference's.
"""

from collections.abc import Sequence
from functools import partial
from math import prod
from typing import Any

import jax
import jax.numpy as jnp
from metarl.kernels.lopt_update import cpu_loops, reference
from metarl.kernels.lopt_update.features import FeatureSet, feature_inputs
from metarl.kernels.lopt_update.moments import Moments, Rates, move_factored
from metarl.kernels.lopt_update.network import Layer, is_unrolled
from metarl.kernels.lopt_update.tiles import sequential_vmap

Array = jax.Array


def lopt_update(features: FeatureSet, *arguments: Any, in_place: bool) -> tuple[Array, Moments]:
    """See `metarl.kernels.lopt_update.api.lopt_update`; `in_place`, see `lopt_apply` there."""
    layers, scale, parameter, *others, exponent = arguments
    if not is_blocked(features, parameter.shape):
        return reference.step_or_parameter(features, *arguments, in_place=in_place)
    run = partial(_update, features, exponent, in_place)
    update = reference.with_derivative(features, exponent, in_place, run)
    return update(layers, jnp.float32(scale), parameter, *others)


def is_blocked(features: FeatureSet, shape: Sequence[int]) -> bool:
    """Returns whether a tensor of this shape is updated block by block."""
    axes = features.normalizer_axes
    rank = len(shape)
    return rank > 1 and prod(shape) > cpu_loops.SIZES.whole and (axes is None or axes >= rank)


def _update(
    features: FeatureSet, exponent: float, in_place: bool, *arguments: Any
) -> tuple[Array, Moments]:
    run = partial(_in_blocks, features, exponent, in_place)
    if in_place:
        return _members_in_place(run)(*arguments)
    return sequential_vmap(run, arguments[2].size)(*arguments)


def _in_blocks(
    features: FeatureSet,
    exponent: float,
    in_place: bool,
    layers: Sequence[Layer],
    scale: Array,
    parameter: Array,
    gradient: Array,
    moments: Moments,
    rates: Rates,
) -> tuple[Array, Moments]:
    if moments.row is not None:
        means = cpu_loops.square_means(features, gradient)
        moments = move_factored(moments, *means, rates)
    # Momenta and mean squares are not updated yet: only the shapes of their channels are used.
    p, g = parameter.astype(jnp.float32), gradient.astype(jnp.float32)
    inputs = feature_inputs(features, p, g, moments)
    source = cpu_loops.Source(parameter, gradient, moments.momenta, moments.rms, inputs.factors)

    def means_of(squares: Any, *_: Any) -> Array:
        return cpu_loops.channel_means(features, rates, source, squares)

    network = reference.fold(features, layers, exponent, inputs, means_of)
    given = (features, rates, source, network, scale)
    if is_unrolled(network[1]) and not in_place:
        made = cpu_loops.all_at_once(*given)
    else:
        made = cpu_loops.block_by_block(*given, in_place)
    return made.parameter, moments._replace(momenta=made.momenta, rms=made.rms)


def _members_in_place(function: Any) -> Any:
    """Makes a function that under `vmap` loops over batch members and updates each in place.

    Args:
      function: function of `layers, scale, parameter, gradient, moments, rates` that returns new
        parameter and moments.
    """
    one = jax.custom_batching.custom_vmap(function)

    @one.def_vmap
    def over_members(count: int, batched: Any, *arguments: Any) -> tuple[Any, Any]:
        def repeated(has: bool, x: Array) -> Array:
            return x if has else jnp.broadcast_to(x, (count, *jnp.shape(x)))

        held = jax.tree.map(repeated, (batched[2], batched[4]), (arguments[2], arguments[4]))

        def member(index: Array, held: tuple[Array, Moments]) -> tuple[Array, Moments]:
            def of(x: Array) -> Array:
                return jax.lax.dynamic_index_in_dim(x, index, keepdims=False)

            given = jax.tree.map(lambda has, x: of(x) if has else x, tuple(batched), arguments)
            given = [*given[:2], of(held[0]), given[3], jax.tree.map(of, held[1]), given[5]]
            made = one(*given)
            return jax.tree.map(
                lambda x, own: jax.lax.dynamic_update_index_in_dim(x, own, index, 0), held, made
            )

        made = jax.lax.fori_loop(0, count, member, held)
        return made, jax.tree.map(lambda _: True, made)

    return one
