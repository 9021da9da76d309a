"""Batch parallelism: a leading axis is sharded over devices and chunked on each device.

The run compiles one program with `on_mesh`. Inside it, `Layout.sharded_vmap` is a `vmap` that gives
each device its shard of the leading axis and gathers the (small) results, `Layout.sharded_sum` sums
large results, and `Layout.mean_gradient` differentiates the mean of a loss over the batch. Random
numbers depend neither on the number of devices nor on the chunk.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, PartitionSpec

from metarl.core.errors import check_positive
from metarl.core.trees import all_finite, where
from metarl.core.types import Array, PyTree

POPULATION_AXIS = "population"


@dataclass(frozen=True)
class Layout:
    """Distribution of a leading batch axis over devices and chunks.

    Attributes:
      devices: number of devices of the mesh that the enclosing program runs on; 1 = plain vmap.
      chunk: maximum number of entries that run at once on each device, which bounds memory;
        None = all.
    """

    devices: int = 1
    chunk: int | None = None

    def __post_init__(self) -> None:
        check_positive(devices=self.devices, chunk=self.chunk)

    def sharded_vmap(self, function: Callable[..., PyTree]) -> Callable[..., PyTree]:
        """Returns `vmap(function)` over the leading axis of all arguments, sharded and chunked.

        With more than one device, the result must be called inside a program made by `on_mesh`. The
        batch size need not be a multiple of the number of devices: the last entry is repeated and
        the surplus dropped.
        """

        def mapped(*args: PyTree) -> PyTree:
            total = jax.tree.leaves(args)[0].shape[0]
            share = -(-total // self.devices)
            local = jax.tree.map(lambda x: self._take_share(x, total, share), args)
            outputs = self._chunked(function, local, share)
            if self.devices == 1:
                return outputs
            return jax.tree.map(lambda x: self._gather(x)[:total], outputs)

        return mapped

    def mean_gradient(
        self, loss: Callable[..., tuple[Array, PyTree]]
    ) -> Callable[..., tuple[PyTree, Array, PyTree, Array]]:
        """Returns a function that differentiates the mean of `loss` over a batch of entries.

        `loss(theta, *entry) -> (scalar, auxiliary)`. The result maps `(theta, *entries [N, ...])`
        to the gradient with respect to theta, the losses `[N]`, the auxiliaries `[N, ...]` and
        whether each entry counts `[N]`. Each chunk computes one gradient, of the sum of its losses,
        so that products with theta stay large and memory is that of one chunk. A chunk with a loss
        or gradient that is not finite, because one entry diverged, is left out of the mean.
        """

        def mapped(theta: PyTree, *args: PyTree) -> tuple[PyTree, Array, PyTree, Array]:
            def chunk_sum(entries: PyTree, counts: Array) -> tuple[PyTree, PyTree]:
                return _chunk_gradient(loss, theta, entries, counts)

            zero = (jax.tree.map(jnp.zeros_like, theta), jnp.float32(0.0))
            (gradient, used), outputs = self._reduced(chunk_sum, zero, args)
            mean = jax.tree.map(lambda x: x / jnp.maximum(used, 1.0).astype(x.dtype), gradient)
            return mean, *outputs

        return mapped

    def sharded_sum(
        self, function: Callable[..., tuple[PyTree, PyTree]], zero: PyTree
    ) -> Callable[..., tuple[PyTree, PyTree]]:
        """Returns a function that sums large results over a batch and stacks small ones.

        The result maps `*entries [N, ...]` to the sum of the addends and the auxiliaries
        `[N, ...]`. Only one chunk of addends is in memory at once, and only their sum is
        communicated between devices.

        Args:
          function: function of one entry, `(*entry) -> (addend, auxiliary)`.
          zero: empty sum, with the shapes and dtypes of an addend.
        """

        def chunk_sum(entries: PyTree, counts: Array) -> tuple[PyTree, PyTree]:
            addends, auxiliaries = jax.vmap(function)(*entries)
            counted = where(counts, addends, jax.tree.map(jnp.zeros_like, addends))
            return jax.tree.map(lambda x: jnp.sum(x, axis=0), counted), auxiliaries

        return lambda *args: self._reduced(chunk_sum, zero, args)

    def _reduced(
        self,
        chunk_sum: Callable[[PyTree, Array], tuple[PyTree, PyTree]],
        zero: PyTree,
        args: PyTree,
    ) -> tuple[PyTree, PyTree]:
        """Sums over the chunks of all devices and gathers the auxiliaries of the entries.

        Args:
          chunk_sum: function `(entries [chunk, ...], mask [chunk]) -> (sum, auxiliaries)`; the mask
            is false for padding.
          zero: empty sum.
          args: entries `[N, ...]`.

        Returns:
          The sum over all chunks of all devices, and the auxiliaries `[N, ...]`.
        """
        total = jax.tree.leaves(args)[0].shape[0]
        share = -(-total // self.devices)
        chunk = min(self.chunk or share, share)
        padded = -(-share // chunk) * chunk
        index = self._first(share) + jnp.arange(padded)
        counts = (jnp.arange(padded) < share) & (index < total)
        local = jax.tree.map(lambda x: jnp.take(x, jnp.minimum(index, total - 1), axis=0), args)
        chunks = jax.tree.map(
            lambda x: jnp.reshape(x, (padded // chunk, chunk, *x.shape[1:])), (local, counts)
        )

        def add_chunk(sums: PyTree, chunk: PyTree) -> tuple[PyTree, PyTree]:
            added, auxiliaries = chunk_sum(*chunk)
            return jax.tree.map(jnp.add, sums, added), auxiliaries

        sums, auxiliaries = jax.lax.scan(add_chunk, zero, chunks)
        auxiliaries = jax.tree.map(lambda x: x.reshape(padded, *x.shape[2:])[:share], auxiliaries)
        if self.devices > 1:
            sums = jax.lax.psum(sums, POPULATION_AXIS)
            auxiliaries = jax.tree.map(lambda x: self._gather(x)[:total], auxiliaries)
        return sums, auxiliaries

    def _first(self, share: int) -> Array | int:
        return 0 if self.devices == 1 else jax.lax.axis_index(POPULATION_AXIS) * share

    def _take_share(self, x: Any, total: int, share: int) -> Any:
        if self.devices == 1:
            return x
        return jnp.take(x, jnp.minimum(self._first(share) + jnp.arange(share), total - 1), axis=0)

    def _chunked(self, function: Callable[..., PyTree], args: PyTree, share: int) -> PyTree:
        if self.chunk is None or self.chunk >= share:
            return jax.vmap(function)(*args)
        return jax.lax.map(lambda xs: function(*xs), args, batch_size=self.chunk)

    @staticmethod
    def _gather(x: Any) -> Any:
        return jax.lax.all_gather(x, POPULATION_AXIS, axis=0, tiled=True)


def _chunk_gradient(
    loss: Callable[..., tuple[Array, PyTree]], theta: PyTree, entries: PyTree, counts: Array
) -> tuple[tuple[PyTree, Array], tuple[Array, PyTree, Array]]:
    """Differentiates the sum of a chunk's losses.

    Returns:
      The gradient and the number of entries that count, both zero if the chunk diverged; and, for
      every entry, the loss, the auxiliary and whether it counts.
    """

    def total(theta: PyTree) -> tuple[Array, tuple[Array, PyTree]]:
        losses, auxiliary = jax.vmap(lambda *entry: loss(theta, *entry))(*entries)
        return jnp.sum(jnp.where(counts, losses, 0.0)), (losses, auxiliary)

    gradient, outputs = jax.grad(total, has_aux=True)(theta)
    usable = all_finite(gradient) & jnp.all(jnp.isfinite(outputs[0]) | ~counts)
    kept = jax.tree.map(lambda g: jnp.where(usable, g, jnp.zeros_like(g)), gradient)
    used = jnp.where(usable, jnp.sum(counts, dtype=jnp.float32), 0.0)
    return (kept, used), (*outputs, counts & usable)


def make_mesh(devices: int | None = None) -> Mesh:
    """Returns the one-dimensional mesh over the population axis (default: all devices)."""
    available = jax.devices()
    count = len(available) if devices is None else devices
    if count > len(available):
        raise ValueError(f"{count} devices requested, {len(available)} available.")
    return Mesh(np.asarray(available[:count]), (POPULATION_AXIS,))


def on_mesh(
    function: Callable[..., PyTree], mesh: Mesh, donate: tuple[int, ...] = ()
) -> Callable[..., PyTree]:
    """Compiles `function` to one program over the mesh; arguments and results are replicated.

    On CPU, the XLA backend optimization level is 2: level 3 takes twice as long to compile programs
    of hundreds of small loops and does not make them faster.
    """
    replicated = PartitionSpec()
    sharded = jax.shard_map(
        function, mesh=mesh, in_specs=replicated, out_specs=replicated, check_vma=False
    )
    on_cpu = mesh.devices.flat[0].platform == "cpu"
    options = {"xla_backend_optimization_level": 2} if on_cpu else None
    return jax.jit(sharded, donate_argnums=donate, compiler_options=options)
