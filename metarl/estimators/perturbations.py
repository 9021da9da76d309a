"""Perturbations of theta, computed from keys."""

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from metarl.core.keys import named
from metarl.core.types import Array, Key, PyTree, Theta


def perturbation(key: Key, theta: Theta, number: Array) -> PyTree:
    """Draws the perturbation with index `number`: standard normal, like theta, float32 or wider.

    A single draw covers all leaves, which compiles much faster than one draw for each leaf.
    """
    flat, unravel = ravel_pytree(zeros_like(theta))
    key = jax.random.fold_in(named(key, "perturbation"), number)
    return unravel(jax.random.normal(key, flat.shape, flat.dtype))


def zeros_like(theta: Theta) -> PyTree:
    """Zeros with theta's shapes, in float32 or theta's own wider dtype."""
    return jax.tree.map(
        lambda x: jnp.zeros(jnp.shape(x), jnp.promote_types(jnp.result_type(x), jnp.float32)), theta
    )
