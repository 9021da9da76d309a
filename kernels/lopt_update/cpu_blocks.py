"""The update on CPU: the reference's arithmetic, block by block.

XLA on CPU writes down parts of an expression, and begins all tensors of a program at once. In
blocks these parts are small, and are read again from the cache. Vectors and small tensors go to the
reference, as do tensors of which only some axes are averaged over by normalisers. Gradients are the
reference's.
"""

from collections.abc import Sequence
from functools import partial
from math import prod
from typing import Any

import jax
import jax.numpy as jnp

from metarl.kernels.lopt_update import cpu_loops, reference
from metarl.kernels.lopt_update.features import FeatureSet, ingredients
from metarl.kernels.lopt_update.moments import Moments, Rates, move_factored
from metarl.kernels.lopt_update.network import Layer, is_spelt_out
from metarl.kernels.lopt_update.tiles import in_turn

Array = jax.Array


def lopt_update(features: FeatureSet, *arguments: Any, in_place: bool) -> tuple[Array, Moments]:
    """See `metarl.kernels.lopt_update.api.lopt_update`; `in_place`, see `lopt_apply` there."""
    layers, scale, parameter, *others, exponent = arguments
    if not cut(features, parameter.shape):
        return reference.ends(features, *arguments, in_place=in_place)
    run = partial(_update, features, exponent, in_place)
    update = reference.with_derivative(features, exponent, in_place, run)
    return update(layers, jnp.float32(scale), parameter, *others)


def cut(features: FeatureSet, shape: Sequence[int]) -> bool:
    """Says whether such a tensor is updated in blocks."""
    axes = features.normalizer_axes
    rank = len(shape)
    return rank > 1 and prod(shape) > cpu_loops.SIZES.whole and (axes is None or axes >= rank)


def _update(
    features: FeatureSet, exponent: float, in_place: bool, *arguments: Any
) -> tuple[Array, Moments]:
    run = partial(_in_blocks, features, exponent, in_place)
    if in_place:
        return _members_in_place(run)(*arguments)
    return in_turn(run, arguments[2].size)(*arguments)


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
    # momenta and mean squares are old here; of what is made of them, only shapes are used
    p, g = parameter.astype(jnp.float32), gradient.astype(jnp.float32)
    seen = ingredients(features, p, g, moments)
    source = cpu_loops.Source(parameter, gradient, moments.momenta, moments.rms, seen.factors)

    def means_of(squares: Any, *_: Any) -> Array:
        return cpu_loops.channel_means(features, rates, source, squares)

    network = reference.fold(features, layers, exponent, seen, means_of)
    given = (features, rates, source, network, scale)
    if is_spelt_out(network[1]) and not in_place:
        made = cpu_loops.all_at_once(*given)
    else:
        made = cpu_loops.block_by_block(*given, in_place)
    return made.parameter, moments._replace(momenta=made.momenta, rms=made.rms)


def _members_in_place(function: Any) -> Any:
    """Makes a function that, vmapped, takes members in turn and writes each into its place.

    Args:
      function: of `layers, scale, parameter, gradient, moments, rates`, to new parameter and
        moments.
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
