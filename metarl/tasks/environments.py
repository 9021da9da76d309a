"""Distributions over environment parameters."""

from collections.abc import Callable
from dataclasses import dataclass

from metarl.core.types import Key, Task


@dataclass(frozen=True)
class FixedTask:
    """The same task always.

    Attributes:
      task: the parameters of an environment.
    """

    task: Task

    def sample(self, key: Key) -> Task:
        """Returns the task."""
        del key
        return self.task


@dataclass(frozen=True)
class SampledTask:
    """Tasks drawn by a function.

    Attributes:
      draw: `key -> task`, an array pytree of fixed structure.
    """

    draw: Callable[[Key], Task]

    def sample(self, key: Key) -> Task:
        """Draws one task."""
        return self.draw(key)
