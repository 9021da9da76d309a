"""Vectors laid out in rows of one width, each row knowing whose it is."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import jax
import jax.numpy as jnp
import numpy as np

from metarl.kernels.lopt_update.config import power_of_two

Array = jax.Array


@dataclass(frozen=True)
class Rows:
    """Layout of S vectors, one after the other, in R rows of W elements.

    What is left of a vector's last row is filled with ones, since channels of zeros need not be
    finite.

    Attributes:
      sizes: of the vectors, each at least 1.
      widest: W is the least power of two that holds the longest, but no more than this.
    """

    sizes: tuple[int, ...]
    widest: int

    @cached_property
    def width(self) -> int:
        """W."""
        return min(power_of_two(max(self.sizes)), self.widest)

    @cached_property
    def owners(self) -> np.ndarray:
        """Whose each row is, `[R]`."""
        return np.repeat(np.arange(len(self.sizes)), self._counts)

    @cached_property
    def inside(self) -> np.ndarray:
        """Which elements are a vector's, `[R, W]`."""
        firsts = np.concatenate([np.arange(count) for count in self._counts]) * self.width
        left = np.asarray(self.sizes)[self.owners] - firsts
        return np.arange(self.width) < left[:, None]

    def lay(self, vectors: Sequence[Array]) -> Array:
        """Lays S arrays `[*K, size]` out, `[R, *K, W]`."""
        parts = []
        for x, size, count in zip(vectors, self.sizes, self._counts, strict=True):
            parts.append(x)
            if size < count * self.width:
                parts.append(jnp.ones((*x.shape[:-1], count * self.width - size), x.dtype))
        line = jnp.concatenate(parts, -1)
        return jnp.moveaxis(line.reshape(*line.shape[:-1], -1, self.width), -2, 0)

    def back(self, rows: Array) -> list[Array]:
        """Undoes `lay`."""
        rows = jnp.moveaxis(rows, 0, -2)
        line = rows.reshape(*rows.shape[:-2], -1)
        starts = [0, *np.cumsum(self._counts)[:-1] * self.width]
        return [
            line[..., start : start + size] for start, size in zip(starts, self.sizes, strict=True)
        ]

    def means(self, sums: Array) -> Array:
        """Averages over each vector, `[S, ...]`, of which `[R, ...]` are the sums over its rows.

        As a product with zeros and ones: added up always in the same order, unlike by atomics.
        """
        mine = jnp.asarray(np.arange(len(self.sizes))[:, None] == self.owners, jnp.float32)
        totals = jnp.tensordot(mine, sums, 1, precision=jax.lax.Precision.HIGHEST)
        return totals / jnp.asarray(self.sizes, jnp.float32).reshape(-1, *[1] * (sums.ndim - 1))

    @cached_property
    def _counts(self) -> list[int]:
        return [-(-size // self.width) for size in self.sizes]
