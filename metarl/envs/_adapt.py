"""What the adapters share: strong dtypes, and parameters that fit their defaults."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from metarl.core.errors import ConfigError
from metarl.core.types import Array, PyTree


def strong(tree: PyTree) -> PyTree:
    """Turns Python numbers and weakly typed arrays into arrays of their own dtype."""

    def convert(leaf: Any) -> Array:
        leaf = jnp.asarray(leaf)
        return jax.lax.convert_element_type(leaf, leaf.dtype)

    return jax.tree.map(convert, tree)


def strong_like(tree: PyTree, template: PyTree) -> PyTree:
    """Casts every leaf to the dtype of its counterpart, so that a loop's carry keeps its type."""
    return jax.tree.map(lambda leaf, like: jnp.asarray(leaf, like.dtype), tree, template)


def param_like(name: str, option: str, value: Any, default: Array) -> Array:
    """Converts the value of an option to the shape and dtype of the parameter's default.

    Raises:
      ConfigError: it has another shape, or a dtype that would lose information.
    """
    try:
        given = np.asarray(value)
        fits = np.can_cast(given.dtype, default.dtype, "same_kind")
    except (TypeError, ValueError):
        fits = False
    if not fits or given.shape != default.shape:
        raise ConfigError(
            f"Option {option!r} of {name} must be {default.dtype} of shape {default.shape}, "
            f"got {value!r}."
        )
    return jnp.asarray(given, default.dtype)
