"""Sizes of the tiles on which kernels work, and how exactly they multiply."""

from dataclasses import dataclass, field
from typing import TypeAlias

import jax

Precision: TypeAlias = "jax.lax.Precision | jax.lax.DotAlgorithmPreset"

LEAST_COLUMNS = 16
"""A tile on a GPU has at least that many, because matrix units take no less."""


@dataclass(frozen=True)
class Blocks:
    """A tile of a tensor, which one program of the grid has to itself; chosen, not yet tuned.

    Attributes:
      elements: most elements of a tile, a power of two, at least 16.
      columns: most columns of a tile, a power of two, at least 16.
      warps: that work on a tile, on a GPU.
      least: rows and columns that a tile has at least, powers of two; it sticks out of a smaller
        tensor.
    """

    elements: int
    columns: int
    warps: int = 4
    least: tuple[int, int] = (1, LEAST_COLUMNS)

    def __post_init__(self) -> None:
        for name in ("elements", "columns"):
            size = getattr(self, name)
            if size < LEAST_COLUMNS or size & (size - 1):
                raise ValueError(f"{name} is {size}. Permitted: powers of two from 16 on.")

    def tile(self, rows: int, columns: int) -> tuple[int, int]:
        """Chooses a tile's rows and columns, powers of two; it may stick out of the tensor."""
        wide = max(min(power_of_two(columns), self.columns, self.elements), self.least[1])
        return max(min(power_of_two(rows), self.elements // wide), self.least[0]), wide


@dataclass(frozen=True)
class KernelConfig:
    """How a kernel runs.

    Attributes:
      unrolled: tiles of networks spelt out unit by unit, and of the statistics. Long rows, which
        are read fast.
      products: tiles of networks as matrix products. Nearly square, because what a row or a column
        adds to 32 units is much to read.
      precision: of the matrix products: full float32, three or one passes of TF32, or bfloat16.
      in_place: whether what is made is the parameter moved by its step, written in its place.
      interpret: whether to run the kernel step by step in jax, on any machine; for tests.
    """

    unrolled: Blocks = field(default_factory=lambda: Blocks(512, 128))
    products: Blocks = field(default_factory=lambda: Blocks(256, 32))
    precision: Precision = jax.lax.Precision.HIGHEST
    in_place: bool = False
    interpret: bool = False


def power_of_two(size: int) -> int:
    """Returns the least power of two that is not below `size`, which is at least 1."""
    return 1 << (size - 1).bit_length()
