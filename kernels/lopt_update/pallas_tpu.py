"""The update on TPUs: the kernels of `pallas_update`, compiled by Mosaic.

Tiles are blocks in vector memory, weights and rates single numbers in scalar memory. Networks of
every width are spelt out unit by unit: products 16 or 32 deep fill a few percent of a matrix unit
of 128 x 128, which needs six passes for float32 besides.

No TPU has run it. It is lowered for a v5e in the tests, on jax 0.11 (0.9 asks for the chip:
"Unsupported TPU device kind: cpu"), and libtpu's compiler has compiled it for one, ahead of time.
"""

from typing import Any

import jax
from jax.experimental.pallas import tpu

from metarl.kernels.lopt_update import pallas_update
from metarl.kernels.lopt_update.config import KernelConfig, Tiles
from metarl.kernels.lopt_update.moments import Moments
from metarl.kernels.lopt_update.pallas_calls import Device
from metarl.kernels.lopt_update.pallas_tile import Tile

Array = jax.Array

CONFIG = KernelConfig(Tiles(8192, 512), Tiles(2048, 256))
"""Tiles of whole registers of 8 x 128; not tuned."""

TPU = Device(Tile, lambda blocks, size: None, products=False, scalars=tpu.SMEM)
"""What Mosaic needs."""


def lopt_update(*arguments: Any, config: KernelConfig | None = None) -> tuple[Array, Moments]:
    """See `metarl.kernels.lopt_update.api.lopt_update`."""
    return pallas_update.lopt_update(*arguments, config or CONFIG, TPU)
