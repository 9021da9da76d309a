"""A replay buffer of trajectories: a ring buffer with uniform sampling."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from metarl.core.errors import ConfigError, check_positive
from metarl.core.types import Array, Key, PyTree


class ReplayBuffer(NamedTuple):
    """Stored trajectories.

    Attributes:
      stored: pytree of arrays `[capacity, T, ...]`.
      added: number of trajectories ever added, an int32 scalar; the oldest are overwritten.
    """

    stored: PyTree
    added: Array

    @property
    def capacity(self) -> int:
        """Maximum number of trajectories."""
        return int(jax.tree.leaves(self.stored)[0].shape[0])

    @property
    def size(self) -> Array:
        """Number of stored trajectories."""
        return jnp.minimum(self.added, self.capacity)


def init_replay(like: PyTree, capacity: int) -> ReplayBuffer:
    """Returns an empty buffer.

    Args:
      like: example trajectories `[T, B, ...]`, arrays or their shapes and dtypes.
      capacity: number of trajectories (of one environment each) to keep.

    Raises:
      ConfigError: `capacity` is smaller than the B trajectories that are added at a time.
    """
    check_positive(capacity=capacity)
    together = {leaf.shape[1] for leaf in jax.tree.leaves(like)}
    if max(together) > capacity:
        raise ConfigError(f"capacity must be at least the {max(together)} added at a time.")
    stored = jax.tree.map(lambda x: jnp.zeros((capacity, x.shape[0], *x.shape[2:]), x.dtype), like)
    return ReplayBuffer(stored, jnp.int32(0))


def add_trajectories(replay: ReplayBuffer, trajectories: PyTree) -> ReplayBuffer:
    """Adds B trajectories `[T, B, ...]`, overwriting the oldest."""
    count = jax.tree.leaves(trajectories)[0].shape[1]
    slots = (replay.added + jnp.arange(count)) % replay.capacity
    stored = jax.tree.map(
        lambda ring, new: ring.at[slots].set(jnp.moveaxis(new, 1, 0)), replay.stored, trajectories
    )
    return ReplayBuffer(stored, replay.added + count)


def sample_trajectories(key: Key, replay: ReplayBuffer, count: int) -> PyTree:
    """Samples `count` trajectories `[T, count, ...]` uniformly, with replacement.

    Returns zeros if the buffer is empty; check `replay.size` first.
    """
    slots = jax.random.randint(key, (count,), 0, jnp.maximum(replay.size, 1))
    return jax.tree.map(lambda ring: jnp.moveaxis(ring[slots], 0, 1), replay.stored)
