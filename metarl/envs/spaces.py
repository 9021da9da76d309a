"""Spaces of observations and actions: what a network and a test need to know, and no more."""

from dataclasses import dataclass
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np

from metarl.core.types import Array, Key


@dataclass(frozen=True)
class Discrete:
    """The integers `0 .. n-1`."""

    n: int

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one element: a scalar."""
        return ()

    @property
    def dtype(self) -> Any:
        """Dtype of one element."""
        return jnp.int32

    def sample(self, key: Key) -> Array:
        """Draws uniformly."""
        return jax.random.randint(key, (), 0, self.n)

    def contains(self, x: Array) -> Array:
        """Tells whether `x` is an element (a boolean scalar)."""
        return jnp.logical_and(x >= 0, x < self.n)


@dataclass(frozen=True)
class Box:
    """Arrays of one shape between two bounds (floats, the same for every entry)."""

    low: float
    high: float
    shape: tuple[int, ...]
    dtype: Any = np.float32

    def sample(self, key: Key) -> Array:
        """Draws uniformly where the box is bounded, standard normally (clipped) where it is not."""
        if np.isfinite(self.low) and np.isfinite(self.high):
            return jax.random.uniform(key, self.shape, self.dtype, self.low, self.high)
        return jnp.clip(jax.random.normal(key, self.shape, self.dtype), self.low, self.high)

    def contains(self, x: Array) -> Array:
        """Tells whether every entry lies within the bounds (a boolean scalar)."""
        return jnp.all((x >= self.low) & (x <= self.high))


Space: TypeAlias = Discrete | Box
