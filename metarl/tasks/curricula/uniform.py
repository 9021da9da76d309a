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
        """Draws a task for every unroll `[N]`; slot i belongs to unroll i."""
        unrolls = wanted.shape[0]
        tasks = jax.vmap(self.tasks.sample)(jax.random.split(key, unrolls))
        return tasks, jnp.arange(unrolls, dtype=jnp.int32), state

    def report(self, state: tuple[()], slots: Array, scores: Array, ended: Array) -> tuple[()]:
        """Takes no notice."""
        del slots, scores, ended
        return state
