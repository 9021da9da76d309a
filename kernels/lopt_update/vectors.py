"""Update of many vectors of any lengths in one call.

At rank 0 and 1 every average is of the element itself, so the update is elementwise except for the
mean squares of channels, which are summed over each row and then over the rows of a vector.
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from metarl.kernels.lopt_update.features import FeatureInputs, FeatureSet, bounded, feature_inputs
from metarl.kernels.lopt_update.moments import Moments, Rates, update_moments
from metarl.kernels.lopt_update.network import Design, Layer, Weights, steps
from metarl.kernels.lopt_update.rows import Rows

Array = jax.Array


def lopt_update_vectors(
    features: FeatureSet,
    layers: Sequence[Layer],
    shared: bool,
    scales: Array,
    parameters: Sequence[Array],
    gradients: Sequence[Array],
    moments: Sequence[Moments],
    rates: Rates,
    exponent: float,
    widest: int,
) -> list[tuple[Array, Moments]]:
    """Updates S tensors of rank 0 and 1; see `metarl.kernels.lopt_update.api.lopt_update`.

    Args:
      layers: layers of the networks, with a leading axis S if they are not `shared`.
      scales: factors of the steps, `[S]`.
      widest: maximum elements of a row.

    Returns:
      Step and new moments of each tensor.
    """
    shapes = [p.shape for p in parameters]
    rows = Rows(tuple(p.size for p in parameters), widest)

    def packed(*tensors: Array) -> Array:
        lead = tensors[0].ndim - len(shapes[0])
        return rows.pack([x.reshape(*x.shape[:lead], -1) for x in tensors])

    p = packed(*(x.astype(jnp.float32) for x in parameters))
    g = packed(*(bounded(features, x) for x in gradients))
    p, g, old = barrier((p, g, jax.tree.map(packed, *moments)))
    new = jax.vmap(update_moments, (0, 0, None))(old, g, rates)
    inputs = jax.vmap(lambda p, g, m: feature_inputs(features, p, g, m))(p, g, new)
    first, *others = layers
    means = rows.means(_square_sums(features, rows, inputs))  # [S, C]
    kernels = first.kernel[None] if shared else first.kernel
    kernels = kernels * jax.lax.rsqrt(features.normalizer_eps + means)[..., None]
    rest = (first.bias, others)
    if not shared:
        rest = jax.tree.map(lambda x: x[rows.segment_ids], rest)
    design = Design(features, tuple(range(len(features.channels))), exponent)

    def row(kernel: Array, rest: tuple[Array, list[Layer]], inputs: FeatureInputs) -> Array:
        bias, others = rest
        return steps(design, Weights(kernel, None, [bias[:, None]], others), inputs)

    step = jax.vmap(row, (0, None if shared else 0, 0))(kernels[rows.segment_ids], rest, inputs)
    step = step * scales[rows.segment_ids][:, None]
    step, new = barrier((step, new))
    leaves, treedef = jax.tree.leaves(new), jax.tree.structure(new)
    parts = zip(*(rows.unpack(x) for x in leaves), strict=True)
    return [
        (own.reshape(shape), jax.tree.unflatten(treedef, [x.reshape(-1, *shape) for x in part]))
        for own, part, shape in zip(rows.unpack(step), parts, shapes, strict=True)
    ]


def barrier(tree: Any) -> Any:
    """Keeps XLA from recomputing the batched arrays for every tensor that is sliced out."""
    return jax.lax.optimization_barrier(tree)


def _square_sums(features: FeatureSet, rows: Rows, inputs: FeatureInputs) -> Array:
    """Sums the squares of all channels over each row, `[R, C]`."""

    def of_row(inputs: FeatureInputs, inside: Array) -> Array:
        squares = [jnp.where(inside, kind * kind, 0.0) for kind in features.make(inputs)]
        return jnp.concatenate([jnp.sum(square, -1) for square in squares])

    return jax.vmap(of_row)(inputs, jnp.asarray(rows.inside))
