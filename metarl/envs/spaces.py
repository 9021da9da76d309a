"""Observation and action spaces."""

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
        """Samples uniformly."""
        return jax.random.randint(key, (), 0, self.n)

    def contains(self, x: Array) -> Array:
        """Returns whether `x` is an element (a boolean scalar)."""
        return jnp.logical_and(x >= 0, x < self.n)


@dataclass(frozen=True)
class Box:
    """Arrays of one shape between two bounds (floats, the same for all elements)."""

    low: float
    high: float
    shape: tuple[int, ...]
    dtype: Any = np.float32

    def sample(self, key: Key) -> Array:
        """Samples uniformly if the box is bounded, else from a clipped standard normal."""
        if np.isfinite(self.low) and np.isfinite(self.high):
            return jax.random.uniform(key, self.shape, self.dtype, self.low, self.high)
        return jnp.clip(jax.random.normal(key, self.shape, self.dtype), self.low, self.high)

    def contains(self, x: Array) -> Array:
        """Returns whether all elements lie within the bounds (a boolean scalar)."""
        return jnp.all((x >= self.low) & (x <= self.high))


Space: TypeAlias = Discrete | Box
