"""Schedules of lifetimes over meta-training: short lifetimes first, long ones later."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp

from metarl.core.contracts import Curriculum
from metarl.core.errors import ConfigError, check_positive, check_range
from metarl.core.keys import split_named
from metarl.core.types import Array, Key, PyTree
from metarl.tasks.lifetimes import TimedTask


class ScheduledState(NamedTuple):
    """Number of outer steps so far, an int32 scalar, and the state of the wrapped curriculum."""

    step: Array
    tasks: PyTree


@dataclass(frozen=True)
class ScheduledLifetimes:
    """Adds a lifetime to the tasks of a curriculum, `schedule(outer step) * exp(jitter * u)`.

    `u` is uniform in [-1, 1], sampled for each lifetime. Every call of `report` counts as an outer
    step; estimators make one per step. Running inner training runs keep their lifetime.

    Attributes:
      curriculum: curriculum that samples tasks, such as `Uniform`.
      schedule: function from the outer step to the median lifetime, in updates: `growing`, or an
        optax schedule.
      jitter: spread j >= 0: lifetimes are in `[exp(-j), exp(j)]` times their median, so that
        inner training runs that start together do not end together.
    """

    curriculum: Curriculum
    schedule: Callable[[Array], Array]
    jitter: float = 0.0

    def __post_init__(self) -> None:
        check_range(0.0, 5.0, jitter=self.jitter)

    def init(self, key: Key) -> ScheduledState:
        """Returns the state at outer step 0."""
        return ScheduledState(jnp.zeros((), jnp.int32), self.curriculum.init(key))

    def draw(
        self, key: Key, state: ScheduledState, wanted: Array
    ) -> tuple[TimedTask, Array, ScheduledState]:
        """Samples tasks from the curriculum, and a lifetime of at least one update for each."""
        key_tasks, key_jitter = split_named(key, "tasks", "jitter")
        tasks, slots, inner = self.curriculum.draw(key_tasks, state.tasks, wanted)
        noise = jax.random.uniform(key_jitter, wanted.shape, minval=-1.0, maxval=1.0)
        lifetimes = self.schedule(state.step) * jnp.exp(self.jitter * noise)
        lifetimes = jnp.maximum(jnp.round(lifetimes), 1.0).astype(jnp.int32)
        return TimedTask(tasks, lifetimes), slots, state._replace(tasks=inner)

    def report(
        self, state: ScheduledState, slots: Array, scores: Array, ended: Array
    ) -> ScheduledState:
        """Counts the outer step, and passes the scores on."""
        tasks = self.curriculum.report(state.tasks, slots, scores, ended)
        return ScheduledState(state.step + 1, tasks)


def growing(low: float, high: float, steps: int) -> Callable[[Array], Array]:
    """Returns an exponential schedule from `low` to `high` in `steps` outer steps, then constant.

    Args:
      low: lifetime at outer step 0, in updates.
      high: lifetime from step `steps` on.
      steps: number of outer steps, above zero.

    Raises:
      ConfigError: `high` is below `low`, or a value is not positive.
    """
    check_positive(low=low, high=high, steps=steps)
    if high < low:
        raise ConfigError(f"lifetimes end at {high}, below {low}, where they begin.")
    ratio = math.log(high / low)
    return lambda step: low * jnp.exp(ratio * jnp.clip(step / steps, 0.0, 1.0))
