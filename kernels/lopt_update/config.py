"""Sizes of the tiles on which kernels work, and how exactly they multiply."""

from dataclasses import dataclass, field
from typing import Protocol, TypeAlias

import jax

from metarl.kernels.lopt_update.matrices import Matrices

Size: TypeAlias = tuple[int, int]
"""Rows and columns of a block."""

Precision: TypeAlias = "jax.lax.Precision | jax.lax.DotAlgorithmPreset"

LEAST_COLUMNS = 16
"""A strip on a GPU has at least that many, because matrix units take no less."""


class Blocks(Protocol):
    """How a tensor is cut into blocks, each of which one program of the grid has to itself."""

    def size(self, layout: Matrices) -> Size:
        """Chooses a block's rows and columns, powers of two; it may stick out of the tensor."""
        ...


@dataclass(frozen=True)
class Tiles:
    """Blocks that a program works on at once, on a TPU.

    Attributes:
      elements: most elements of a tile, a power of two, at least 16.
      columns: most columns of a tile, a power of two, at least 16.
      least: rows and columns that a tile has at least, powers of two; it sticks out of a smaller
        tensor.
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
    """Blocks that a program goes along row by row, on a GPU.

    What varies along columns only is loaded once for all rows, what varies along rows only is one
    number, and nothing changes hands between threads.

    Attributes:
      columns: most columns of a strip, a power of two, at least 16.
      rows: fewest and most rows of a strip, powers of two. Not one, because a call may be one of
        thousands that are vmapped, and a program has work to do before and after its rows.
      each: elements of a row that a thread takes, a power of two.
      warps: that all programs together should have, so that all of a GPU works; a small tensor has
        strips of fewer rows. 132 multiprocessors hold 2112 warps of 128 registers a thread.
      waste: which share of a strip's columns may stick out, or strips are narrower.
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
        """Warps that work on a strip of so many columns."""
        return max(min(columns // (32 * self.each), 8), 1)

    def _columns(self, columns: int) -> int:
        wide = max(min(power_of_two(columns), self.columns), LEAST_COLUMNS)
        while wide > 4 * LEAST_COLUMNS and -(-columns // wide) * wide * (1 - self.waste) > columns:
            wide //= 2
        return wide


@dataclass(frozen=True)
class KernelConfig:
    """How a kernel runs.

    Attributes:
      unrolled: blocks of networks spelt out unit by unit, and of the statistics.
      products: blocks of networks as matrix products.
      precision: of the matrix products: full float32, three or one passes of TF32 or of bfloat16.
      in_place: whether what is made is the parameter moved by its step, written in its place.
      interpret: whether to run the kernel step by step in jax, on any machine; for tests.
    """

    unrolled: Blocks = field(default_factory=lambda: Strips(512))
    products: Blocks = field(default_factory=lambda: Strips(128, each=1))
    precision: Precision = jax.lax.Precision.HIGHEST
    in_place: bool = False
    interpret: bool = False


MOST_PROGRAMS = 65535
"""Along the second and third axis of a grid on a GPU."""


def _check_powers_of_two(least: int, **sizes: int) -> None:
    for name, size in sizes.items():
        if size < least or size & (size - 1):
            raise ValueError(f"{name} is {size}. Permitted: powers of two from {least} on.")


def power_of_two(size: int) -> int:
    """Returns the least power of two that is not below `size`, which is at least 1."""
    return 1 << (size - 1).bit_length()
