"""Operations on whole pytrees."""

import jax
import jax.numpy as jnp

from metarl.core.types import Array, Key, PyTree


def where(condition: Array, on_true: PyTree, on_false: PyTree) -> PyTree:
    """Selects leaf by leaf; `condition` is broadcast over the trailing axes of each leaf.

    Leaves may be typed PRNG keys.
    """

    def select(a: Array, b: Array) -> Array:
        trailing = jnp.ndim(a) - jnp.ndim(condition)
        return jnp.where(jnp.reshape(condition, jnp.shape(condition) + (1,) * trailing), a, b)

    return jax.tree.map(select, on_true, on_false)


def normal_like(key: Key, tree: PyTree) -> PyTree:
    """Draws a standard normal tree with the shapes and dtypes of `tree`."""
    leaves, treedef = jax.tree.flatten(tree)
    keys = jax.random.split(key, len(leaves))
    drawn = [
        jax.random.normal(k, jnp.shape(leaf), leaf.dtype)
        for k, leaf in zip(keys, leaves, strict=True)
    ]
    return jax.tree.unflatten(treedef, drawn)


def size(tree: PyTree) -> int:
    """Number of elements in all leaves of a tree."""
    return sum(jnp.size(leaf) for leaf in jax.tree.leaves(tree))


def all_finite(tree: PyTree) -> Array:
    """Whether all elements of a tree are finite, a boolean scalar."""
    flags = [jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves(tree)]
    return jnp.all(jnp.stack(flags)) if flags else jnp.bool_(True)
