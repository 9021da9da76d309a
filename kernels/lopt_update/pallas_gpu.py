"""GPU implementation: the kernels of `pallas_update`, compiled by Triton.

A program processes a strip of columns row by row. Wide networks are products on matrix units.
"""

from collections.abc import Callable
from copy import copy
from typing import Any

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import triton
from metarl.kernels.lopt_update import pallas_update
from metarl.kernels.lopt_update.config import KernelConfig, Size, Strips
from metarl.kernels.lopt_update.matrices import Matrices
from metarl.kernels.lopt_update.moments import Moments
from metarl.kernels.lopt_update.pallas_calls import Device
from metarl.kernels.lopt_update.pallas_tile import Held, Tile

__all__ = ["GPU", "lopt_update", "tiled"]

Array = jax.Array
tiled = pallas_update.tiled


class Strip(Tile):
    """Strip of the running program, or one row of it, which is the tile.

    Columns outside the tensor load as zeros and are not stored; rows outside are not visited.
    """

    def __init__(self, layout: Matrices, size: Size) -> None:
        super().__init__(layout, (1, size[1]))
        self._inside = (None, self._inside[1])
        self._row: Array | int = 0
        height = size[0]
        left = layout.rows - pl.program_id(1) * height
        self._count = jnp.minimum(height, left) if layout.rows % height else height

    def over(self, body: Callable[[Tile, Any], Any], carry: Any) -> Any:
        """See `Tile.over`."""

        def one(row: Array, carry: Any) -> Any:
            tile = copy(self)
            tile._row = row
            return body(tile, carry)

        return jax.lax.fori_loop(0, self._count, one, carry)

    def hold(self, ref: Any) -> Any:
        """See `Tile.hold`; preloads arrays that vary along columns only."""
        if ref.shape[-2] > 1 or ref.shape[-1] == 1:
            return ref
        return Held([self.load(ref, k) for k in range(ref.shape[0])])

    def load(self, ref: Any, k: int) -> Array:
        """See `Tile.load`; loads a scalar if the array does not vary along columns."""
        if isinstance(ref, Held):
            return ref[k]
        _, rows, columns = ref.shape
        row = self._row if rows > 1 else 0
        if columns == 1:
            return jnp.full((1, 1, 1), ref[k, row, 0], jnp.float32)
        part = ref.at[k : k + 1, pl.ds(row, 1)]
        return self._loaded(part, self.shape, 1).astype(jnp.float32)

    def zeros(self, ref: Any) -> Array:
        """See `Tile.zeros`.

        Implemented as a fully masked load: Triton distributes constants over threads differently
        from loaded data and would convert between the layouts in every row.
        """
        never = jnp.broadcast_to(pl.program_id(1) < 0, self.shape)
        return triton.load(ref.at[:1, :1], mask=never, other=0.0).astype(jnp.float32)

    def load_units(self, ref: Any) -> Array:
        """See `Tile.load_units`."""
        rows, *shape = ref.shape
        part = ref.at[pl.ds(self._row if rows > 1 else 0, 1)]
        return self._loaded(part, (1, *shape), 0)

    def store(self, ref: Any, k: int, value: Array) -> None:
        """See `Tile.store`."""
        mask = self.mask(value.shape, 1)
        triton.store(ref.at[k : k + 1, pl.ds(self._row, 1)], value, mask=mask)

    def _loaded(self, ref: Any, shape: tuple[int, ...], axis: int) -> Array:
        mask = self.mask(shape, axis)
        return ref[...] if mask is None else triton.load(ref, mask=mask, other=0.0)


class CompiledStrip(Strip):
    """Strip with explicit fused multiply-add, which XLA disables in Triton."""

    def multiply_add(self, x: Array, factor: Array, added: Array) -> Array:
        """See `Tile.multiply_add`."""
        terms = [jnp.broadcast_to(term, self.shape) for term in (x, factor, added)]
        result = jax.ShapeDtypeStruct(self.shape, jnp.float32)
        [total] = triton.elementwise_inline_asm(
            "fma.rn.f32 $0, $1, $2, $3;",
            args=terms,
            constraints="=f,f,f,f",
            pack=1,
            result_shape_dtypes=[result],
        )
        return total


def _compiler_params(blocks: Strips, size: Size) -> Any:
    return triton.CompilerParams(num_warps=blocks.warps_of(size[1]), num_stages=1)


GPU = Device(CompiledStrip, _compiler_params, products=True)
"""Device settings for Triton."""

INTERPRETED = Device(Strip, _compiler_params, products=True)
"""Device settings for the interpreter, without GPU instructions."""


def lopt_update(*arguments: Any, config: KernelConfig | None = None) -> tuple[Array, Moments]:
    """See `metarl.kernels.lopt_update.api.lopt_update`."""
    config = config or KernelConfig()
    device = INTERPRETED if config.interpret else GPU
    return pallas_update.lopt_update(*arguments, config, device)
