"""Conversion of option values to environment parameters, shared by the environment adapters."""

from typing import Any

import jax.numpy as jnp
import numpy as np

from metarl.core.errors import ConfigError
from metarl.core.types import Array


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
