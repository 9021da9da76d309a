"""The update on GPUs: the kernels of `pallas_update`, compiled by Triton.

Tiles are loaded and stored through masks. Wide networks are products on matrix units.
"""

from typing import Any

import jax
from jax.experimental.pallas import triton
from metarl.kernels.lopt_update import pallas_update
from metarl.kernels.lopt_update.config import Blocks, KernelConfig
from metarl.kernels.lopt_update.moments import Moments
from metarl.kernels.lopt_update.pallas_calls import Device
from metarl.kernels.lopt_update.pallas_tile import Tile
from metarl.kernels.lopt_update.pallas_update import tiled

__all__ = ["GPU", "lopt_update", "tiled"]

Array = jax.Array


class MaskedTile(Tile):
    """A tile that is loaded and stored through masks: beyond the edge nothing is touched."""

    def store(self, ref: Any, k: int, value: Array) -> None:
        """See `Tile.store`."""
        triton.store(ref.at[k : k + 1], value, mask=self.mask(value.shape, 1))

    def _load(self, ref: Any, shape: tuple[int, ...], axis: int) -> Array:
        mask = self.mask(shape, axis)
        return triton.load(ref, mask=mask, other=None if mask is None else 0.0)


def _compiler_params(blocks: Blocks) -> Any:
    return triton.CompilerParams(num_warps=blocks.warps)


GPU = Device(MaskedTile, _compiler_params, products=True)
"""What Triton needs."""


def lopt_update(*arguments: Any, config: KernelConfig | None = None) -> tuple[Array, Moments]:
    """See `metarl.kernels.lopt_update.api.lopt_update`."""
    return pallas_update.lopt_update(*arguments, config or KernelConfig(), GPU)
