"""Distributions over environment parameters."""

from collections.abc import Callable
from dataclasses import dataclass

from metarl.core.types import Key, Task


@dataclass(frozen=True)
class FixedTask:
    """A distribution that always returns the same task.

    Attributes:
      task: parameters of an environment.
    """

    task: Task

    def sample(self, key: Key) -> Task:
        """Returns the task."""
        del key
        return self.task


@dataclass(frozen=True)
class SampledTask:
    """A distribution given by a sampling function.

    Attributes:
      draw: `key -> task`, an array pytree of fixed structure.
    """

    draw: Callable[[Key], Task]

    def sample(self, key: Key) -> Task:
        """Samples one task."""
        return self.draw(key)
