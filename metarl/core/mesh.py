"""Spreading a batch of independent lifetimes over devices and, on each device, over chunks.

The composition root compiles one program with `on_mesh`; inside it, `Layout.spread` is a `vmap`
that gives each device its share of the leading axis and gathers the (small) results. Neither the
number of devices nor the chunk touches a random number.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, PartitionSpec

from metarl.core.errors import check_positive
from metarl.core.types import PyTree

POPULATION_AXIS = "population"

# Inner loops are long scans of tiny operations: handing these to another thread costs more than it
# saves (a PPO minibatch step took 172 us with this scheduler and 126 us without, on two cores).
_CPU_OPTIONS = {"xla_cpu_enable_concurrency_optimized_scheduler": False}


@dataclass(frozen=True)
class Layout:
    """How a leading batch axis is laid out.

    Attributes:
      devices: number of devices of the mesh that the enclosing program runs on; 1 = plain vmap.
      chunk: at most this many entries run at once on each device (bounds memory); None = all.
    """

    devices: int = 1
    chunk: int | None = None

    def __post_init__(self) -> None:
        check_positive(devices=self.devices, chunk=self.chunk)

    def spread(self, function: Callable[..., PyTree]) -> Callable[..., PyTree]:
        """Returns `vmap(function)` over the leading axis of every argument, laid out.

        With more than one device it must be called inside a program made by `on_mesh`. The batch
        need not divide by the devices: the last entry is repeated and the surplus dropped.
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

    def _take_share(self, x: Any, total: int, share: int) -> Any:
        if self.devices == 1:
            return x
        start = jax.lax.axis_index(POPULATION_AXIS) * share
        return jnp.take(x, jnp.minimum(start + jnp.arange(share), total - 1), axis=0)

    def _chunked(self, function: Callable[..., PyTree], args: PyTree, share: int) -> PyTree:
        if self.chunk is None or self.chunk >= share:
            return jax.vmap(function)(*args)
        return jax.lax.map(lambda xs: function(*xs), args, batch_size=self.chunk)

    @staticmethod
    def _gather(x: Any) -> Any:
        return jax.lax.all_gather(x, POPULATION_AXIS, axis=0, tiled=True)


def make_mesh(devices: int | None = None) -> Mesh:
    """Makes the one-dimensional mesh over the population axis (default: every device)."""
    available = jax.devices()
    count = len(available) if devices is None else devices
    if count > len(available):
        raise ValueError(f"{count} devices asked for, {len(available)} present.")
    return Mesh(np.asarray(available[:count]), (POPULATION_AXIS,))


def on_mesh(
    function: Callable[..., PyTree], mesh: Mesh, donate: tuple[int, ...] = ()
) -> Callable[..., PyTree]:
    """Compiles `function` to one program over the mesh; arguments and results are replicated."""
    replicated = PartitionSpec()
    spread = jax.shard_map(
        function, mesh=mesh, in_specs=replicated, out_specs=replicated, check_vma=False
    )
    platform = mesh.devices.flat[0].platform
    options = _CPU_OPTIONS if platform == "cpu" else None
    return jax.jit(spread, donate_argnums=donate, compiler_options=options)
