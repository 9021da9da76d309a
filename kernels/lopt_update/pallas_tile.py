"""What both kernels do on a tile: load it, move its moments, make its channels."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from metarl.kernels.lopt_update.features import FeatureSet, Ingredients
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


class Tile:
    """The tile of the program that runs; programs are `[columns, rows, B]`.

    Tiles at the edge may stick out of the tensor. What is there is loaded as anything and not
    stored: so a block in fast memory behaves, whose copies stop at the edge.
    """

    def __init__(self, layout: Matrices, size: tuple[int, int]) -> None:
        self._inside = (
            _inside(layout.rows, size[0], program=1),
            _inside(layout.columns, size[1], program=0),
        )

    def load(self, ref: Any, k: int) -> Array:
        """Loads entry k of a block `[K, rows or 1, columns or 1]` as `[1, ...]`, float32."""
        return self._load(ref.at[k : k + 1], (1, *ref.shape[1:]), 1).astype(jnp.float32)

    def load_units(self, ref: Any) -> Array:
        """Loads a block `[rows or 1, columns or 1, H]`."""
        return self._load(ref, ref.shape, 0)

    def store(self, ref: Any, k: int, value: Array) -> None:
        """Stores `[1, rows, columns]` as entry k of a block."""
        ref[k : k + 1] = value

    def mask(self, shape: tuple[int, ...], axis: int) -> Array | None:
        """Tells which elements of a block exist, None = all do; `axis` is that of rows."""
        masks = [
            inside(shape, axis + i)
            for i, inside in enumerate(self._inside)
            if inside is not None and shape[axis + i] > 1
        ]
        return masks[0] & masks[1] if len(masks) > 1 else next(iter(masks), None)

    def _load(self, ref: Any, shape: tuple[int, ...], axis: int) -> Array:
        del shape, axis
        return ref[...]


def look(features: FeatureSet, refs: Inputs, tile: Tile) -> list[Ingredients]:
    """Gathers what channels are made of, one for each momentum and what belongs to it.

    Apart, because arrays in a kernel have sizes that are powers of two, which the number of momenta
    is not.
    """
    p, g = tile.load(refs.parameter, 0)[0], tile.load(refs.gradient, 0)[0]
    if features.gradient_limit is not None:
        g = jnp.clip(g, -features.gradient_limit, features.gradient_limit)
    rms, rms_rate = None, jnp.float32(0)
    if refs.rms is not None and refs.rms_rates is not None:
        rms, rms_rate = tile.load(refs.rms, 0), refs.rms_rates[0, 0]
    seen = []
    for k in range(features.momenta):
        old = Moments(tile.load(refs.momenta, k), rms, None, None)
        new = update_moments(old, g, Rates(refs.momenta_rates[0, k], rms_rate, rms_rate))
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


def _inside(total: int, size: int, program: int) -> Callable[[tuple[int, ...], int], Array] | None:
    """Tells which rows or columns of a tile exist, spread over a shape; None = all do."""
    if total % size == 0:
        return None
    start = pl.program_id(program) * size

    def inside(shape: tuple[int, ...], axis: int) -> Array:
        return start + jax.lax.broadcasted_iota(jnp.int32, shape, axis) < total

    return inside
