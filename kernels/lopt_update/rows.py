"""Packing of vectors of any lengths into rows of one width, with segment ids."""

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
    """Layout of S vectors in R rows of W elements; every vector starts a new row.

    Padding is ones, since channels of zeros need not be finite.

    Attributes:
      sizes: lengths of the vectors, each at least 1.
      widest: maximum of W, which is otherwise the smallest power of two that holds the longest.
    """

    sizes: tuple[int, ...]
    widest: int

    @cached_property
    def width(self) -> int:
        """Row width W."""
        return min(power_of_two(max(self.sizes)), self.widest)

    @cached_property
    def segment_ids(self) -> np.ndarray:
        """Index of the vector of each row, `[R]`."""
        return np.repeat(np.arange(len(self.sizes)), self._counts)

    @cached_property
    def inside(self) -> np.ndarray:
        """Mask of elements that are not padding, `[R, W]`."""
        firsts = np.concatenate([np.arange(count) for count in self._counts]) * self.width
        left = np.asarray(self.sizes)[self.segment_ids] - firsts
        return np.arange(self.width) < left[:, None]

    def pack(self, vectors: Sequence[Array]) -> Array:
        """Packs S arrays `[*K, size]` into `[R, *K, W]`."""
        parts = []
        for x, size, count in zip(vectors, self.sizes, self._counts, strict=True):
            parts.append(x)
            if size < count * self.width:
                parts.append(jnp.ones((*x.shape[:-1], count * self.width - size), x.dtype))
        line = jnp.concatenate(parts, -1)
        return jnp.moveaxis(line.reshape(*line.shape[:-1], -1, self.width), -2, 0)

    def unpack(self, rows: Array) -> list[Array]:
        """Inverts `pack`."""
        rows = jnp.moveaxis(rows, 0, -2)
        line = rows.reshape(*rows.shape[:-2], -1)
        starts = [0, *np.cumsum(self._counts)[:-1] * self.width]
        return [
            line[..., start : start + size] for start, size in zip(starts, self.sizes, strict=True)
        ]

    def means(self, sums: Array) -> Array:
        """Returns the mean over each vector, `[S, ...]`, from sums over rows, `[R, ...]`.

        A segment sum as a product with a 0-1 matrix, which unlike atomics is deterministic.
        """
        members = jnp.asarray(np.arange(len(self.sizes))[:, None] == self.segment_ids, jnp.float32)
        totals = jnp.tensordot(members, sums, 1, precision=jax.lax.Precision.HIGHEST)
        return totals / jnp.asarray(self.sizes, jnp.float32).reshape(-1, *[1] * (sums.ndim - 1))

    @cached_property
    def _counts(self) -> list[int]:
        return [-(-size // self.width) for size in self.sizes]
