"""Layout of a tensor as a batch of matrices over its two factored axes."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import jax
import jax.numpy as jnp
from metarl.kernels.lopt_update.moments import factored_axes

Array = jax.Array


@dataclass(frozen=True)
class Matrices:
    """Layout `[B, rows, columns]` of a tensor.

    Attributes:
      shape: shape of the tensor.
      order: permutation of its axes, batch axes first.
    """

    shape: tuple[int, ...]
    order: tuple[int, ...]

    @property
    def batch(self) -> int:
        """Number of matrices B."""
        return prod(self.shape[axis] for axis in self.order[:-2])

    @property
    def rows(self) -> int:
        """Size of the first axis of a matrix."""
        return self.shape[self.order[-2]]

    @property
    def columns(self) -> int:
        """Size of the second axis of a matrix."""
        return self.shape[self.order[-1]]

    @property
    def in_order(self) -> bool:
        """Whether the layout needs no transposition."""
        return self.order == tuple(range(len(self.shape)))

    def pack(self, x: Array) -> Array:
        """Reshapes `[K, *shape]` to `[K, B, rows, columns]`; axes of size 1 stay 1."""
        x = jnp.transpose(x, (0, *(1 + axis for axis in self.order)))
        return x.reshape(x.shape[0], -1, *x.shape[-2:])

    def unpack(self, x: Array) -> Array:
        """Inverts `pack` for an array of the full shape."""
        x = x.reshape(x.shape[0], *(self.shape[axis] for axis in self.order))
        places = sorted(range(len(self.order)), key=lambda i: self.order[i])
        return jnp.transpose(x, (0, *(1 + place for place in places)))


def matrices(shape: Sequence[int]) -> Matrices | None:
    """Returns the layout; None for a vector, i.e. fewer than two axes longer than 1."""
    axes = factored_axes(shape)
    if axes is None or shape[axes[0]] < 2:
        return None
    pair = sorted(axes)
    others = [axis for axis in range(len(shape)) if axis not in pair]
    return Matrices(tuple(shape), (*others, *pair))
