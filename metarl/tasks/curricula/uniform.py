"""A curriculum that does not adapt: a new task for every lifetime."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp

from metarl.core.contracts import TaskDistribution
from metarl.core.types import Array, Key, Task


@dataclass(frozen=True)
class Uniform:
    """Samples from a distribution over tasks; ignores scores.

    Attributes:
      tasks: distribution over tasks.
    """

    tasks: TaskDistribution

    def init(self, key: Key) -> tuple[()]:
        """Returns an empty state."""
        del key
        return ()

    def draw(self, key: Key, state: tuple[()], wanted: Array) -> tuple[Task, Array, tuple[()]]:
        """Draws a task for every slot `[N]`; the ticket of a slot is its number."""
        slots = wanted.shape[0]
        tasks = jax.vmap(self.tasks.sample)(jax.random.split(key, slots))
        return tasks, jnp.arange(slots, dtype=jnp.int32), state

    def report(self, state: tuple[()], tickets: Array, scores: Array, ended: Array) -> tuple[()]:
        """Returns the state unchanged."""
        del tickets, scores, ended
        return state
