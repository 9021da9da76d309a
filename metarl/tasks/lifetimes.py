"""Tasks with a lifetime: the number of updates that a learner has for them."""

import math
from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp

from metarl.core.contracts import TaskDistribution
from metarl.core.errors import ConfigError, check_positive
from metarl.core.keys import split_named
from metarl.core.types import Array, Key, Task


class TimedTask(NamedTuple):
    """A task with a lifetime.

    Attributes:
      task: task, such as the parameters of an environment or of a training problem.
      lifetime: number N of updates, an int32 scalar.
    """

    task: Task
    lifetime: Array


@dataclass(frozen=True)
class Lifetimes:
    """Adds a lifetime, log-uniform in `[low, high]`, to every task of a distribution.

    Attributes:
      tasks: distribution over tasks.
      low: shortest lifetime, in updates.
      high: longest lifetime, in updates.
    """

    tasks: TaskDistribution
    low: int
    high: int

    def __post_init__(self) -> None:
        check_positive(lifetime=self.low)
        if self.high < self.low:
            raise ConfigError(f"lifetimes end at {self.high}, before they begin at {self.low}.")

    def sample(self, key: Key) -> TimedTask:
        """Samples one task."""
        key_task, key_lifetime = split_named(key, "task", "lifetime")
        exponent = jax.random.uniform(key_lifetime)
        # The range ends at high + 1, so that the last integer has its share in the logarithm.
        drawn = self.low * jnp.exp(exponent * math.log((self.high + 1) / self.low))
        lifetime = jnp.clip(jnp.floor(drawn).astype(jnp.int32), self.low, self.high)
        return TimedTask(self.tasks.sample(key_task), lifetime)
