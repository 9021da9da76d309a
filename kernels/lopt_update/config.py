"""Block sizes and matrix-product precision of the kernels."""

from dataclasses import dataclass, field
from typing import Protocol, TypeAlias

import jax
from metarl.kernels.lopt_update.matrices import Matrices

Size: TypeAlias = tuple[int, int]
"""Rows and columns of a block."""

Precision: TypeAlias = "jax.lax.Precision | jax.lax.DotAlgorithmPreset"

LEAST_COLUMNS = 16
"""Minimum columns of a strip on a GPU: the minimum operand size of matrix units."""


class Blocks(Protocol):
    """Partition of a tensor into blocks, one for each program of the grid."""

    def size(self, layout: Matrices) -> Size:
        """Chooses a block's rows and columns, powers of two; it may exceed the tensor."""
        ...


@dataclass(frozen=True)
class Tiles:
    """Blocks that a TPU program processes as a whole.

    Attributes:
      elements: maximum elements of a tile, a power of two, at least 16.
      columns: maximum columns of a tile, a power of two, at least 16.
      least: minimum rows and columns of a tile, powers of two; a tile exceeds a smaller tensor.
    """

    elements: int
    columns: int
    least: Size = (8, 128)

    def __post_init__(self) -> None:
        _check_powers_of_two(LEAST_COLUMNS, elements=self.elements, columns=self.columns)

    def size(self, layout: Matrices) -> Size:
        """See `Blocks.size`."""
        wide = max(min(power_of_two(layout.columns), self.columns, self.elements), self.least[1])
        tall = min(power_of_two(layout.rows), self.elements // wide)
        return max(tall, self.least[0]), wide


@dataclass(frozen=True)
class Strips:
    """Blocks that a GPU program processes row by row.

    Arrays that vary along columns only are loaded once for all rows, arrays that vary along rows
    only are scalars, and threads exchange no data.

    Attributes:
      columns: maximum columns of a strip, a power of two, at least 16.
      rows: minimum and maximum rows of a strip, powers of two. The minimum exceeds one because a
        call may be vmapped thousands of times, and each program has a prologue and an epilogue.
      each: elements of a row per thread, a power of two.
      warps: target number of warps of all programs together, to occupy the whole GPU; small
        tensors get strips of fewer rows. 132 multiprocessors hold 2112 warps at 128 registers a
        thread.
      waste: maximum share of a strip's columns outside the tensor, beyond which strips are
        narrower.
    """

    columns: int
    rows: tuple[int, int] = (4, 32)
    each: int = 4
    warps: int = 2048
    waste: float = 0.125

    def __post_init__(self) -> None:
        _check_powers_of_two(LEAST_COLUMNS, columns=self.columns)
        fewest, most = self.rows
        _check_powers_of_two(1, each=self.each, fewest=fewest, most=most)

    def size(self, layout: Matrices) -> Size:
        """See `Blocks.size`."""
        wide = self._columns(layout.columns)
        warps = layout.batch * layout.rows * -(-layout.columns // wide) * self.warps_of(wide)
        fewest, most = self.rows
        tall = max(min(power_of_two(max(warps // self.warps, 1)), most), fewest)
        least = power_of_two(-(-layout.rows // MOST_PROGRAMS))
        return max(min(tall, power_of_two(layout.rows)), least), wide

    def warps_of(self, columns: int) -> int:
        """Returns the number of warps for a strip of `columns` columns."""
        return max(min(columns // (32 * self.each), 8), 1)

    def _columns(self, columns: int) -> int:
        wide = max(min(power_of_two(columns), self.columns), LEAST_COLUMNS)
        while wide > 4 * LEAST_COLUMNS and -(-columns // wide) * wide * (1 - self.waste) > columns:
            wide //= 2
        return wide


@dataclass(frozen=True)
class KernelConfig:
    """Settings of a kernel.

    Attributes:
      unrolled: blocks of unrolled networks and of the statistics.
      products: blocks of networks computed as matrix products.
      precision: precision of matrix products: float32, or three or one passes of TF32 or bfloat16.
      in_place: whether the output is the updated parameter, aliased to the input, not the step.
      interpret: whether to use Pallas's interpreter, on any machine; for tests.
    """

    unrolled: Blocks = field(default_factory=lambda: Strips(512))
    products: Blocks = field(default_factory=lambda: Strips(128, each=1))
    precision: Precision = jax.lax.Precision.HIGHEST
    in_place: bool = False
    interpret: bool = False


MOST_PROGRAMS = 65535
"""Maximum programs along the second and third axis of a CUDA grid."""


def _check_powers_of_two(least: int, **sizes: int) -> None:
    for name, size in sizes.items():
        if size < least or size & (size - 1):
            raise ValueError(f"{name} is {size}. Permitted: powers of two from {least} on.")


def power_of_two(size: int) -> int:
    """Returns the smallest power of two not below `size`, which is at least 1."""
    return 1 << (size - 1).bit_length()
