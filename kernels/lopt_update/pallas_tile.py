"""What both kernels do on a tile: load it, move its moments, make its channels."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl

from metarl.kernels.lopt_update.config import Size
from metarl.kernels.lopt_update.features import FeatureSet, Ingredients, bounded
from metarl.kernels.lopt_update.matrices import Matrices
from metarl.kernels.lopt_update.moments import Factors, Moments, Rates, update_moments

Array = jax.Array


class Inputs(NamedTuple):
    """Arrays that both kernels read, laid out as matrices; in a kernel, references to its blocks.

    Attributes:
      momenta_rates, rms_rates: `[1, M]`, `[1, V]` or None: blocks have two axes at least.
      gradient, parameter: `[1, B, rows, columns]`, any floating dtype.
      momenta, rms: `[M, ...]`, `[V, ...]` or None; before this update.
      factors: `[F, ...]` with axes of size 1, or None; after this update.
    """

    momenta_rates: Array
    rms_rates: Array | None
    gradient: Array
    parameter: Array
    momenta: Array
    rms: Array | None
    factors: Factors | None


class Place(NamedTuple):
    """Place in the feature set of a kind of channels that vary over elements, and their number."""

    kind: int
    channels: int


class Held(list[Array]):
    """Entries of a block, loaded before they are asked for."""


class Tile:
    """What a program works on at once; programs are `[columns, rows, B]`.

    Here a whole block of the tensor. At the edge it may stick out: what is there is loaded as
    anything and not stored, which is how a block in fast memory behaves, whose copies stop there.

    Attributes:
      shape: `[1, rows, columns]`, of arrays that vary over elements.
    """

    def __init__(self, layout: Matrices, size: Size) -> None:
        self.shape = (1, *size)
        self._inside = (
            _inside(layout.rows, size[0], program=1),
            _inside(layout.columns, size[1], program=0),
        )

    def over(self, body: Callable[["Tile", Any], Any], carry: Any) -> Any:
        """Goes over the tiles of a block: `body(tile, carry) -> carry`."""
        return body(self, carry)

    def hold(self, ref: Any) -> Any:
        """Loads a block `[K, rows or 1, columns or 1]` if it is the same for all tiles."""
        return ref

    def load(self, ref: Any, k: int) -> Array:
        """Loads entry k of a block `[K, rows or 1, columns or 1]` as `[1, ...]`, float32."""
        return ref[k : k + 1].astype(jnp.float32)

    def zeros(self, ref: Any) -> Array:
        """Makes zeros of the tile's shape, to which what is loaded from a block is added."""
        del ref
        return jnp.zeros(self.shape, jnp.float32)

    def load_units(self, ref: Any) -> Array:
        """Loads a block `[rows or 1, columns or 1, H]`."""
        return ref[...]

    def store(self, ref: Any, k: int, value: Array) -> None:
        """Stores `[1, rows, columns]` as entry k of a block."""
        ref[k : k + 1] = value

    def multiply_add(self, x: Array, factor: Array, added: Array) -> Array:
        """Computes `x factor + added`, of the tile's shape, on some devices rounded once."""
        return x * factor + added

    def mask(self, shape: tuple[int, ...], axis: int) -> Array | None:
        """Tells which elements of a tile exist, None = all do; `axis` is that of rows."""
        masks = [
            inside(shape, axis + i)
            for i, inside in enumerate(self._inside)
            if inside is not None and shape[axis + i] > 1
        ]
        return masks[0] & masks[1] if len(masks) > 1 else next(iter(masks), None)


def held_inputs(refs: Inputs, block: Tile) -> Inputs:
    """Loads what all tiles of a block share."""
    return refs._replace(
        momenta_rates=_numbers(refs.momenta_rates),
        rms_rates=None if refs.rms_rates is None else _numbers(refs.rms_rates),
        factors=None if refs.factors is None else Factors(*map(block.hold, refs.factors)),
    )


def look(features: FeatureSet, refs: Inputs, tile: Tile) -> list[Ingredients]:
    """Gathers what channels are made of, one for each momentum and what belongs to it.

    Apart, because arrays in a kernel have sizes that are powers of two, which the number of momenta
    is not. The inputs are those of `held_inputs`.
    """
    p, g = tile.load(refs.parameter, 0)[0], bounded(features, tile.load(refs.gradient, 0)[0])
    rms, rms_rate = None, jnp.float32(0)
    if refs.rms is not None and refs.rms_rates is not None:
        rms, rms_rate = tile.load(refs.rms, 0), refs.rms_rates[0]
    seen = []
    for k in range(features.momenta):
        old = Moments(tile.load(refs.momenta, k), rms, None, None)
        new = update_moments(old, g, Rates(refs.momenta_rates[k], rms_rate, rms_rate))
        f = None
        if refs.factors is not None:
            f = Factors(*(tile.load(factor, k) for factor in refs.factors))
        seen.append(Ingredients(g, p, new.momenta, new.rms, f, None if f is None else f.row_scale))
    return seen


def varying_channels(
    features: FeatureSet, places: list[Place], seen: list[Ingredients]
) -> list[Array]:
    """Makes the channels that vary over elements, C arrays `[1, rows, columns]`."""
    return [
        features.channels[place.kind](seen[k], features)
        for place in places
        for k in range(place.channels)
    ]


def _numbers(ref: Any) -> Held:
    return Held([ref[0, k] for k in range(ref.shape[1])])


def _inside(total: int, size: int, program: int) -> Callable[[tuple[int, ...], int], Array] | None:
    """Tells which rows or columns of a block exist, spread over a shape; None = all do."""
    if total % size == 0:
        return None
    start = pl.program_id(program) * size

    def inside(shape: tuple[int, ...], axis: int) -> Array:
        return start + jax.lax.broadcasted_iota(jnp.int32, shape, axis) < total

    return inside
