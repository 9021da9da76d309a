"""TPU implementation: the kernels of `pallas_update`, compiled by Mosaic.

Tiles are blocks in vector memory; weights and rates are scalars in scalar memory. Networks of
every width are unrolled: products 16 or 32 deep use a few percent of a 128 x 128 matrix unit, and
float32 needs six passes.

Not yet run on a TPU. The tests lower it for a v5e on jax 0.11 (0.9 requires the chip: "Unsupported
TPU device kind: cpu"), and libtpu's compiler has compiled it for a v5e ahead of time.
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
"""Tiles of whole 8 x 128 registers; not tuned."""

TPU = Device(Tile, lambda blocks, size: None, products=False, scalars=tpu.SMEM)
"""Device settings for Mosaic."""


def lopt_update(*arguments: Any, config: KernelConfig | None = None) -> tuple[Array, Moments]:
    """See `metarl.kernels.lopt_update.api.lopt_update`."""
    return pallas_update.lopt_update(*arguments, config or CONFIG, TPU)
