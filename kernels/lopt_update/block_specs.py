"""Blocks that cover a tensor of any shape."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import jax
import jax.numpy as jnp

Array = jax.Array


@dataclass(frozen=True)
class BlockSpecs:
    """Equally shaped blocks that cover a tensor.

    On an axis that the block does not divide, the last block starts earlier and overlaps.

    Attributes:
      shape: shape of the tensor.
      block: shape of a block, no axis longer than the tensor's.
    """

    shape: tuple[int, ...]
    block: tuple[int, ...]

    @property
    def counts(self) -> tuple[int, ...]:
        """Number of blocks along each axis."""
        return tuple(-(-size // part) for size, part in zip(self.shape, self.block, strict=True))

    @property
    def number(self) -> int:
        """Total number of blocks."""
        return prod(self.counts)

    def starts(self, index: Array) -> list[Array]:
        """Returns the start index of a block along each axis."""
        places = jnp.unravel_index(index, self.counts)
        sizes = zip(places, self.block, self.shape, strict=True)
        return [jnp.minimum(i * part, size - part) for i, part, size in sizes]

    def first_visit_mask(self, index: Array) -> Array | None:
        """Masks the elements of a block that no earlier block covers; None = no overlaps."""
        masks = None
        places = jnp.unravel_index(index, self.counts)
        for axis, (i, start) in enumerate(zip(places, self.starts(index), strict=True)):
            if self.shape[axis] % self.block[axis]:
                own = start + jax.lax.broadcasted_iota(jnp.int32, self.block, axis)
                mask = own >= i * self.block[axis]
                masks = mask if masks is None else masks & mask
        return masks

    def read(self, x: Array, starts: Sequence[Array]) -> Array:
        """Slices a block out of an array whose last axes broadcast against the tensor."""
        lead, begins = self._begins(x, starts)
        sizes = zip(self.block, x.shape[lead:], strict=True)
        lengths = [part if size > 1 else 1 for part, size in sizes]
        return jax.lax.dynamic_slice(x, begins, (*x.shape[:lead], *lengths))

    def write(self, x: Array, part: Array, starts: Sequence[Array]) -> Array:
        """Writes a block into such an array."""
        return jax.lax.dynamic_update_slice(x, part, self._begins(x, starts)[1])

    def _begins(self, x: Array, starts: Sequence[Array]) -> tuple[int, list[Array]]:
        lead, zero = x.ndim - len(self.shape), jnp.int32(0)
        sizes = zip(starts, x.shape[lead:], strict=True)
        return lead, [zero] * lead + [start if size > 1 else zero for start, size in sizes]


def block_specs(shape: tuple[int, ...], most: int) -> BlockSpecs:
    """Chooses the largest blocks of up to `most` elements that keep the last axes whole.

    An axis is split into equal parts if a divisor is more than half the length that would fit.
    """
    block: list[int] = []
    for size in reversed(shape):
        fits = max(most // prod(block), 1)
        equal = (d for d in range(min(fits, size), fits // 2, -1) if size % d == 0)
        block.insert(0, size if size <= fits else next(equal, -(-size // -(-size // fits))))
    return BlockSpecs(shape, tuple(block))
