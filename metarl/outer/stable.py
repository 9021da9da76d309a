"""Keeping a state's types from changing between two steps, which `lax.scan` forbids."""

import jax
import jax.numpy as jnp

from metarl.core.types import PyTree


def strongly_typed(tree: PyTree) -> PyTree:
    """Makes every leaf an array whose dtype no later promotion changes; Python numbers too."""
    return jax.tree.map(lambda x: jnp.asarray(x, dtype=jnp.asarray(x).dtype), tree)


def cast_like(tree: PyTree, example: PyTree) -> PyTree:
    """Gives every leaf the dtype of the same leaf of `example`."""
    return jax.tree.map(lambda x, like: jnp.asarray(x, dtype=like.dtype), tree, example)
