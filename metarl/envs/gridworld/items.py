"""Distributions over the objects of a level: fixed or random."""

from dataclasses import dataclass
from typing import NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from metarl.core.errors import ConfigError, check_range
from metarl.core.keys import split_named
from metarl.core.types import Array, Key
from metarl.envs.gridworld.level import Item


class ItemTable(NamedTuple):
    """The objects of a level, see `Level`; every field is `[M]`."""

    exists: Array
    rewards: Array
    p_terminate: Array
    p_respawn: Array


class Items(Protocol):
    """A distribution over the objects of a level."""

    @property
    def most(self) -> int:
        """Largest number of objects."""
        ...

    def sample(self, key: Key, slots: int) -> ItemTable:
        """Samples objects, padded to `[slots]`."""
        ...


@dataclass(frozen=True)
class GivenItems:
    """Fixed objects.

    Attributes:
      items: objects.
    """

    items: tuple[Item, ...]

    @property
    def most(self) -> int:
        """Number of objects."""
        return len(self.items)

    def sample(self, key: Key, slots: int) -> ItemTable:
        """Returns the objects."""
        del key

        def column(name: str) -> Array:
            values = np.zeros(slots, np.float32)
            values[: self.most] = [getattr(item, name) for item in self.items]
            return jnp.asarray(values)

        exists = jnp.arange(slots) < self.most
        return ItemTable(exists, column("reward"), column("p_terminate"), column("p_respawn"))


@dataclass(frozen=True)
class RandomItems:
    """Random objects, the first with a positive reward.

    Attributes:
      count: range of the number of objects, uniform.
      rewards: range of the rewards, uniform; for the first object its positive part.
      p_terminate: range of the termination probabilities, log-uniform.
      p_respawn: range of the respawn probabilities, log-uniform.
    """

    count: tuple[int, int]
    rewards: tuple[float, float] = (-1.0, 1.0)
    p_terminate: tuple[float, float] = (0.01, 1.0)
    p_respawn: tuple[float, float] = (0.001, 0.1)

    def __post_init__(self) -> None:
        check_interval(1, float("inf"), count=self.count)
        check_interval(-float("inf"), float("inf"), rewards=self.rewards)
        if self.rewards[1] <= 0:
            raise ConfigError(f"rewards must reach above zero, got {self.rewards}.")
        smallest = float(np.finfo(np.float32).tiny)  # log-uniform: not zero
        check_interval(smallest, 1.0, p_terminate=self.p_terminate, p_respawn=self.p_respawn)

    @property
    def most(self) -> int:
        """Largest number of objects."""
        return self.count[1]

    def sample(self, key: Key, slots: int) -> ItemTable:
        """Samples objects."""
        key_count, key_rewards, key_terminate, key_respawn = split_named(
            key, "count", "rewards", "p_terminate", "p_respawn"
        )
        exists = jnp.arange(slots) < jax.random.randint(
            key_count, (), self.count[0], self.count[1] + 1
        )
        low = jnp.where(jnp.arange(slots) == 0, max(self.rewards[0], 0.0), self.rewards[0])
        drawn = ItemTable(
            exists=exists,
            rewards=low + (self.rewards[1] - low) * jax.random.uniform(key_rewards, (slots,)),
            p_terminate=log_uniform(key_terminate, self.p_terminate, (slots,)),
            p_respawn=log_uniform(key_respawn, self.p_respawn, (slots,)),
        )
        return ItemTable(exists, *(jnp.where(exists, values, 0.0) for values in drawn[1:]))


def log_uniform(key: Key, interval: tuple[float, float], shape: tuple[int, ...] = ()) -> Array:
    """Samples log-uniform numbers in an interval, float32 `shape`."""
    low, high = np.log(interval[0]), np.log(interval[1])
    drawn = jnp.exp(low + (high - low) * jax.random.uniform(key, shape, jnp.float32))
    return jnp.clip(drawn, *interval)


def check_interval(low: float, high: float, **intervals: tuple[float, float]) -> None:
    """Raises ConfigError unless every interval is in order and lies within `[low, high]`."""
    for name, interval in intervals.items():
        check_range(low, high, **{name: interval[0]})
        check_range(low, high, **{name: interval[1]})
        if interval[0] > interval[1]:
            raise ConfigError(f"{name} must be (low, high), got {interval}.")
