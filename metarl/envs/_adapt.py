"""What the adapters share: strong dtypes, and options checked by name."""

import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from metarl.core.errors import ConfigError, nearest
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


def check_options(name: str, options: Iterable[str], permitted: Iterable[str]) -> None:
    """Raises ConfigError for the first option that `name` does not have."""
    permitted = sorted(permitted)
    for option in options:
        if option not in permitted:
            raise ConfigError(
                f"Unknown option {option!r} of {name}.{nearest(option, permitted)} "
                f"Permitted: {', '.join(permitted) or 'none'}."
            )


_TYPES: tuple[tuple[type, tuple[type, ...], str], ...] = (
    (bool, (bool,), "true or false"),
    (int, (int,), "a whole number"),
    (float, (int, float), "a number"),
    (str, (str,), "text"),
    (tuple, (tuple, list), "a tuple, in a name written with a comma, even after a single entry"),
)


def check_types(name: str, options: Mapping[str, Any], function: Callable[..., Any]) -> None:
    """Raises ConfigError for an option whose type is not that of its default in the signature.

    Only plain Python values are judged, and only where there is a default that says something.
    """
    parameters = inspect.signature(function).parameters
    plain = {bool, int, float, str, tuple, list}
    for option, value in options.items():
        default = parameters[option].default if option in parameters else None
        for kind, permitted, words in _TYPES:
            # Not isinstance: True is an int.
            if type(default) is kind and type(value) in plain - set(permitted):
                raise ConfigError(f"Option {option!r} of {name} must be {words}, got {value!r}.")


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
