"""Many vectors in one call, whatever their lengths.

At rank 0 and 1 every average is of the element itself, so all of an update is elementwise but for
the mean squares of channels, and these are summed row by row and then over the rows of a vector.
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from metarl.kernels.lopt_update.features import FeatureSet, Ingredients, bounded, ingredients
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
      layers: with a leading axis S if they are not `shared`.
      scales: of the steps, `[S]`.
      widest: most elements of a row.

    Returns:
      Step and new moments of each tensor.
    """
    shapes = [p.shape for p in parameters]
    rows = Rows(tuple(p.size for p in parameters), widest)

    def laid(*tensors: Array) -> Array:
        lead = tensors[0].ndim - len(shapes[0])
        return rows.lay([x.reshape(*x.shape[:lead], -1) for x in tensors])

    p = laid(*(x.astype(jnp.float32) for x in parameters))
    g = laid(*(bounded(features, x) for x in gradients))
    p, g, old = apart((p, g, jax.tree.map(laid, *moments)))
    new = jax.vmap(update_moments, (0, 0, None))(old, g, rates)
    seen = jax.vmap(lambda p, g, m: ingredients(features, p, g, m))(p, g, new)
    first, *others = layers
    means = rows.means(_square_sums(features, rows, seen))  # [S, C]
    kernels = first.kernel[None] if shared else first.kernel
    kernels = kernels * jax.lax.rsqrt(features.normalizer_eps + means)[..., None]
    rest = (first.bias, others)
    if not shared:
        rest = jax.tree.map(lambda x: x[rows.owners], rest)
    design = Design(features, tuple(range(len(features.channels))), exponent)

    def row(kernel: Array, rest: tuple[Array, list[Layer]], seen: Ingredients) -> Array:
        bias, others = rest
        return steps(design, Weights(kernel, None, [bias[:, None]], others), seen)

    step = jax.vmap(row, (0, None if shared else 0, 0))(kernels[rows.owners], rest, seen)
    step = step * scales[rows.owners][:, None]
    step, new = apart((step, new))
    leaves, treedef = jax.tree.leaves(new), jax.tree.structure(new)
    parts = zip(*(rows.back(x) for x in leaves), strict=True)
    return [
        (own.reshape(shape), jax.tree.unflatten(treedef, [x.reshape(-1, *shape) for x in part]))
        for own, part, shape in zip(rows.back(step), parts, shapes, strict=True)
    ]


def apart(tree: Any) -> Any:
    """Keeps XLA from computing again, for every tensor that is cut out, what it is cut out of."""
    return jax.lax.optimization_barrier(tree)


def _square_sums(features: FeatureSet, rows: Rows, seen: Ingredients) -> Array:
    """Sums the squares of all channels over each row, `[R, C]`."""

    def of_row(seen: Ingredients, inside: Array) -> Array:
        squares = [jnp.where(inside, kind * kind, 0.0) for kind in features.make(seen)]
        return jnp.concatenate([jnp.sum(square, -1) for square in squares])

    return jax.vmap(of_row)(seen, jnp.asarray(rows.inside))
