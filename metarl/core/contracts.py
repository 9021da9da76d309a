"""The contracts between the four axes: task, learner, estimator, outer optimizer.

Everything here is a type. An estimator sees an `Unroll` and nothing else: it knows neither
reinforcement learning nor networks, so the same object meta-trains a loss and an optimizer.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import jax

from metarl.core.errors import check_positive
from metarl.core.types import Array, Key, LearnerState, Log, PyTree, Task, Theta


class TaskDistribution(Protocol):
    """A distribution over tasks."""

    def sample(self, key: Key) -> Task:
        """Draws one task, an array pytree."""
        ...


class Learner(Protocol):
    """One lifetime of learning, a pure state machine; equal ones share compiled programs."""

    def __hash__(self) -> int: ...

    def init(self, key: Key, theta: Theta, task: Task) -> LearnerState:
        """Starts a lifetime."""
        ...

    def step(
        self, key: Key, theta: Theta, task: Task, state: LearnerState
    ) -> tuple[LearnerState, Log]:
        """Advances a lifetime by one inner step."""
        ...


@dataclass(frozen=True)
class Unroll:
    """A lifetime of `length` inner steps and the number that scores it.

    Attributes:
      tasks: where tasks come from.
      learner: how one lifetime runs.
      length: K, the number of inner steps in a whole lifetime.
      loss: maps the logs of a lifetime (leaves `[K, ...]`) to the scalar meta-loss to minimise.
    """

    tasks: TaskDistribution
    learner: Learner
    length: int
    loss: Callable[[Log], Array]

    def __post_init__(self) -> None:
        check_positive(length=self.length)

    def run(self, key: Key, theta: Theta, task: Task) -> tuple[Array, Log, LearnerState]:
        """Runs one whole lifetime; returns its meta-loss, its logs `[K, ...]`, the last state."""
        key_init, key_steps = jax.random.split(key)
        state = self.learner.init(key_init, theta, task)

        def step(state: LearnerState, key: Key) -> tuple[LearnerState, Log]:
            return self.learner.step(key, theta, task, state)

        state, logs = jax.lax.scan(step, state, jax.random.split(key_steps, self.length))
        return self.loss(logs), logs, state


@dataclass(frozen=True)
class Truncation:
    """A lifetime that is lived in parts of `length` inner steps, each followed by an exam.

    Attributes:
      learner: how one lifetime runs.
      length: K, inner steps of a part.
      lifetime: number of inner steps after which a lifetime on a task is over, a scalar.
      exam: `(key, theta, task, state, logs [K, ...]) -> (loss, state, log)`: the scalar meta-loss
        of the part, differentiable in theta through state and logs; the state to go on with; and
        scalars by name for people to see.
    """

    learner: Learner
    length: int
    lifetime: Callable[[Task], Array]
    exam: Callable[
        [Key, Theta, Task, LearnerState, Log], tuple[Array, LearnerState, dict[str, Array]]
    ]

    def __post_init__(self) -> None:
        check_positive(length=self.length)


class Curriculum(Protocol):
    """A distribution over tasks that learns from how lifetimes on its tasks ended.

    Its state is an array pytree of fixed shape, part of the checkpoint of whoever uses it.
    """

    def init(self, key: Key) -> PyTree:
        """Starts a curriculum."""
        ...

    def draw(self, key: Key, state: PyTree, wanted: Array) -> tuple[Task, Array, PyTree]:
        """Draws a task for every slot that wants one.

        Args:
          key: of the draw.
          state: of the curriculum.
          wanted: which slots begin a lifetime, booleans `[N]`.

        Returns:
          Tasks `[N, ...]` (of no meaning where none was wanted), a ticket for each, `[N]` int32, by
          which to report on it, and the state.
        """
        ...

    def report(self, state: PyTree, tickets: Array, scores: Array, ended: Array) -> PyTree:
        """Takes notice of the scores `[N]` of the lifetimes that `ended`, booleans `[N]`.

        Called at every outer step, also where none ended.
        """
        ...


class Evaluation(NamedTuple):
    """What lifetimes say about each member of a population of thetas.

    Attributes:
      losses: meta-loss of every unroll and member, averaged over lifetimes, `[U, P]`; not finite
        where a lifetime diverged.
      summary: further scalars by name, each `[U, P]`; None = nothing was asked for.
    """

    losses: Array
    summary: dict[str, Array] | None = None


class Estimate(NamedTuple):
    """What an estimator tells about theta.

    Attributes:
      gradient: estimated gradient of the meta-loss with respect to theta, same pytree.
      losses: meta-loss of every population member, `[P]`; diverged ones have the worst finite one.
      diverged: number of members whose meta-loss was not finite.
      unroll_losses: the same of every unroll, `[U, P]`; None = not told.
      summary: see `Evaluation`.
    """

    gradient: PyTree
    losses: Array
    diverged: Array
    unroll_losses: Array | None = None
    summary: dict[str, Array] | None = None


class Estimator(Protocol):
    """Where the outer gradient comes from."""

    def init(self, key: Key, theta: Theta) -> PyTree:
        """Returns the estimator's state (empty for a full-lifetime estimator)."""
        ...

    def estimate(self, key: Key, theta: Theta, state: PyTree) -> tuple[Estimate, PyTree]:
        """Estimates the gradient of the expected meta-loss at `theta`."""
        ...
