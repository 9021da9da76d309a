"""Operations of both kernels on a tile: load, update moments, compute channels."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from metarl.kernels.lopt_update.config import Size
from metarl.kernels.lopt_update.features import FeatureInputs, FeatureSet, bounded
from metarl.kernels.lopt_update.matrices import Matrices
from metarl.kernels.lopt_update.moments import Factors, Moments, Rates, update_moments

Array = jax.Array


class Inputs(NamedTuple):
    """Inputs of both kernels, packed as matrices; inside a kernel, references to blocks.

    Attributes:
      momenta_rates, rms_rates: rates `[1, M]` and `[1, V]` or None; blocks need two axes.
      gradient, parameter: arrays `[1, B, rows, columns]`, any floating dtype.
      momenta, rms: accumulators `[M, ...]` and `[V, ...]` or None, before this update.
      factors: factors `[F, ...]` with axes of size 1, after this update, or None.
    """

    momenta_rates: Array
    rms_rates: Array | None
    gradient: Array
    parameter: Array
    momenta: Array
    rms: Array | None
    factors: Factors | None


class Place(NamedTuple):
    """Index in the feature set of a kind of channels that vary over elements, and their number."""

    kind: int
    channels: int


class Held(list[Array]):
    """Preloaded entries of a block."""


class Tile:
    """Unit of work of a program; programs are `[columns, rows, B]`.

    This class takes a whole block of the tensor. Elements outside the tensor load as arbitrary
    values and are not stored, as for a block in fast memory whose copies stop at the edge.

    Attributes:
      shape: shape `[1, rows, columns]` of arrays that vary over elements.
    """

    def __init__(self, layout: Matrices, size: Size) -> None:
        self.shape = (1, *size)
        self._inside = (
            _inside(layout.rows, size[0], program=1),
            _inside(layout.columns, size[1], program=0),
        )

    def over(self, body: Callable[["Tile", Any], Any], carry: Any) -> Any:
        """Loops over the tiles of a block: `body(tile, carry) -> carry`."""
        return body(self, carry)

    def hold(self, ref: Any) -> Any:
        """Preloads a block `[K, rows or 1, columns or 1]` if all tiles share it."""
        return ref

    def load(self, ref: Any, k: int) -> Array:
        """Loads entry k of a block `[K, rows or 1, columns or 1]` as `[1, ...]`, float32."""
        return ref[k : k + 1].astype(jnp.float32)

    def zeros(self, ref: Any) -> Array:
        """Returns zeros of the tile's shape, as an accumulator for loaded values."""
        del ref
        return jnp.zeros(self.shape, jnp.float32)

    def load_units(self, ref: Any) -> Array:
        """Loads a block `[rows or 1, columns or 1, H]`."""
        return ref[...]

    def store(self, ref: Any, k: int, value: Array) -> None:
        """Stores `[1, rows, columns]` as entry k of a block."""
        ref[k : k + 1] = value

    def multiply_add(self, x: Array, factor: Array, added: Array) -> Array:
        """Computes `x factor + added`, of the tile's shape; fused on some devices."""
        return x * factor + added

    def mask(self, shape: tuple[int, ...], axis: int) -> Array | None:
        """Masks the elements inside the tensor; None = all; `axis` is the axis of rows."""
        masks = [
            inside(shape, axis + i)
            for i, inside in enumerate(self._inside)
            if inside is not None and shape[axis + i] > 1
        ]
        return masks[0] & masks[1] if len(masks) > 1 else next(iter(masks), None)


def held_inputs(refs: Inputs, block: Tile) -> Inputs:
    """Preloads arrays that all tiles of a block share."""
    return refs._replace(
        momenta_rates=_numbers(refs.momenta_rates),
        rms_rates=None if refs.rms_rates is None else _numbers(refs.rms_rates),
        factors=None if refs.factors is None else Factors(*map(block.hold, refs.factors)),
    )


def load_inputs(features: FeatureSet, refs: Inputs, tile: Tile) -> list[FeatureInputs]:
    """Loads the inputs of channels, separately for each momentum.

    Separate, because arrays in a kernel have power-of-two sizes and the number of momenta is not a
    power of two. `refs` come from `held_inputs`.
    """
    p, g = tile.load(refs.parameter, 0)[0], bounded(features, tile.load(refs.gradient, 0)[0])
    rms, rms_rate = None, jnp.float32(0)
    if refs.rms is not None and refs.rms_rates is not None:
        rms, rms_rate = tile.load(refs.rms, 0), refs.rms_rates[0]
    per_momentum = []
    for k in range(features.momenta):
        old = Moments(tile.load(refs.momenta, k), rms, None, None)
        new = update_moments(old, g, Rates(refs.momenta_rates[k], rms_rate, rms_rate))
        f = None
        if refs.factors is not None:
            f = Factors(*(tile.load(factor, k) for factor in refs.factors))
        per_momentum.append(
            FeatureInputs(g, p, new.momenta, new.rms, f, None if f is None else f.row_scale)
        )
    return per_momentum


def varying_channels(
    features: FeatureSet, places: list[Place], inputs: list[FeatureInputs]
) -> list[Array]:
    """Computes the channels that vary over elements, C arrays `[1, rows, columns]`."""
    return [
        features.channels[place.kind](inputs[k], features)
        for place in places
        for k in range(place.channels)
    ]


def _numbers(ref: Any) -> Held:
    return Held([ref[0, k] for k in range(ref.shape[1])])


def _inside(total: int, size: int, program: int) -> Callable[[tuple[int, ...], int], Array] | None:
    """Returns a function that masks rows or columns inside the tensor; None = all are inside."""
    if total % size == 0:
        return None
    start = pl.program_id(program) * size

    def inside(shape: tuple[int, ...], axis: int) -> Array:
        return start + jax.lax.broadcasted_iota(jnp.int32, shape, axis) < total

    return inside
