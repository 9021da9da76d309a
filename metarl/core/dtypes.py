"""Stable dtypes: `jax.lax.scan` requires a carry whose types do not change between steps."""

import jax
import jax.numpy as jnp

from metarl.core.types import PyTree


def strongly_typed(tree: PyTree) -> PyTree:
    """Converts every leaf, also Python numbers, to an array without weak type."""
    return jax.tree.map(lambda x: jnp.asarray(x, dtype=jnp.asarray(x).dtype), tree)


def cast_like(tree: PyTree, template: PyTree) -> PyTree:
    """Casts every leaf to the dtype of the corresponding leaf of `template`."""
    return jax.tree.map(lambda x, like: jnp.asarray(x, dtype=like.dtype), tree, template)
