"""Interfaces of the four components: task, learner, estimator, outer optimizer.

This module holds types only. An estimator takes an `Unroll` or a `Truncation` and depends on
neither reinforcement learning nor networks, so the same estimator meta-trains a loss or an
optimizer.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import jax
import jax.numpy as jnp

from metarl.core.errors import check_positive
from metarl.core.types import Array, Key, LearnerState, Log, PyTree, Task, Theta


class TaskDistribution(Protocol):
    """A distribution over tasks."""

    def sample(self, key: Key) -> Task:
        """Draws one task, an array pytree."""
        ...


class Learner(Protocol):
    """Inner training as a pure state machine; equal learners share compiled programs."""

    def __hash__(self) -> int: ...

    def init(self, key: Key, theta: Theta, task: Task) -> LearnerState:
        """Returns the state at the start of an inner training run."""
        ...

    def step(
        self, key: Key, theta: Theta, task: Task, state: LearnerState
    ) -> tuple[LearnerState, Log]:
        """Takes one inner step; returns the new state and the log of the step."""
        ...


@dataclass(frozen=True)
class Unroll:
    """A full inner training run of `length` steps with its meta-loss.

    Attributes:
      tasks: distribution of tasks.
      learner: learner that is trained.
      length: K, number of inner steps of a lifetime.
      loss: function from the logs of a lifetime, leaves `[K, ...]`, to the scalar meta-loss to
        minimize.
    """

    tasks: TaskDistribution
    learner: Learner
    length: int
    loss: Callable[[Log], Array]

    def __post_init__(self) -> None:
        check_positive(length=self.length)

    def run(self, key: Key, theta: Theta, task: Task) -> tuple[Array, Log, LearnerState]:
        """Runs one full lifetime; returns meta-loss, logs `[K, ...]` and the final state."""
        key_init, key_steps = jax.random.split(key)
        state = self.learner.init(key_init, theta, task)

        def step(state: LearnerState, key: Key) -> tuple[LearnerState, Log]:
            return self.learner.step(key, theta, task, state)

        state, logs = jax.lax.scan(step, state, jax.random.split(key_steps, self.length))
        return self.loss(logs), logs, state

    def run_steps(
        self, key: Key, theta: Theta, task: Task, steps: Array
    ) -> tuple[Log, LearnerState]:
        """Runs the first `steps` of at most `length` inner steps, an integer scalar.

        The number is an argument of the compiled program, with the random numbers of `run`. Logs
        `[K, ...]` are zero from `steps` on. It cannot be differentiated in reverse mode.
        """
        key_init, key_steps = jax.random.split(key)
        keys = jax.random.split(key_steps, self.length)
        state = self.learner.init(key_init, theta, task)
        shapes = jax.eval_shape(self.learner.step, keys[0], theta, task, state)[1]
        logs = jax.tree.map(lambda x: jnp.zeros((self.length, *x.shape), x.dtype), shapes)

        def step(number: Array, carry: tuple[LearnerState, Log]) -> tuple[LearnerState, Log]:
            state, logs = carry
            state, log = self.learner.step(keys[number], theta, task, state)
            return state, jax.tree.map(lambda x, new: x.at[number].set(new), logs, log)

        state, logs = jax.lax.fori_loop(0, steps, step, (state, logs))
        return logs, state


@dataclass(frozen=True)
class Truncation:
    """Truncated unroll: an inner training run in windows of `length` steps, each with a meta-loss.

    Attributes:
      learner: learner that is trained.
      length: K, number of inner steps of a truncation window.
      lifetime: function from a task to the number of inner steps of a lifetime on it, a scalar.
      meta_loss: function `(key, theta, task, state, logs [K, ...]) -> (loss, state, summary)`,
        called after each window. `loss` is the scalar meta-loss of the window, differentiable in
        theta through state and logs. The unroll continues from the returned state. `summary` holds
        scalars by name, for reports.
    """

    learner: Learner
    length: int
    lifetime: Callable[[Task], Array]
    meta_loss: Callable[
        [Key, Theta, Task, LearnerState, Log], tuple[Array, LearnerState, dict[str, Array]]
    ]

    def __post_init__(self) -> None:
        check_positive(length=self.length)


class Curriculum(Protocol):
    """A distribution over tasks that adapts to the scores of finished unrolls.

    Its state is an array pytree of fixed shape and part of the estimator's checkpoint.
    """

    def init(self, key: Key) -> PyTree:
        """Returns the initial state."""
        ...

    def draw(self, key: Key, state: PyTree, wanted: Array) -> tuple[Task, Array, PyTree]:
        """Draws a task for every new unroll.

        Args:
          key: PRNG key of the draw.
          state: state of the curriculum.
          wanted: mask of the unrolls that start a lifetime, booleans `[N]`.

        Returns:
          Tasks `[N, ...]`, undefined where `wanted` is false; the slot of each task, `[N]` int32,
          with which `report` identifies it, such as its index in a level buffer; the new state.
        """
        ...

    def report(self, state: PyTree, slots: Array, scores: Array, ended: Array) -> PyTree:
        """Updates the state with the scores of finished unrolls.

        Called at every outer step, also if no unroll finished.

        Args:
          state: state of the curriculum.
          slots: slots of the tasks as `draw` returned them, `[N]`.
          scores: scores of the unrolls, `[N]`; ignored where `ended` is false.
          ended: mask of the finished unrolls, booleans `[N]`.
        """
        ...


class Evaluation(NamedTuple):
    """Meta-losses of a population of thetas.

    Attributes:
      losses: meta-loss of every unroll and member, averaged over lifetimes, `[U, P]`; not finite
        where a lifetime diverged.
      summary: further scalars by name, each `[U, P]`; None = none requested.
    """

    losses: Array
    summary: dict[str, Array] | None = None


class Estimate(NamedTuple):
    """Estimate of the meta-gradient.

    Attributes:
      gradient: estimated gradient of the meta-loss with respect to theta, a pytree like theta.
      losses: meta-loss of every population member, `[P]`; for diverged members, the largest finite
        one.
      diverged: number of members whose meta-loss was not finite.
      unroll_losses: meta-loss of every unroll and member, `[U, P]`; None = not available.
      summary: further scalars by name, see `Evaluation`.
    """

    gradient: PyTree
    losses: Array
    diverged: Array
    unroll_losses: Array | None = None
    summary: dict[str, Array] | None = None


class Estimator(Protocol):
    """Estimator of the meta-gradient."""

    def init(self, key: Key, theta: Theta) -> PyTree:
        """Returns the estimator's initial state (empty for a full-lifetime estimator)."""
        ...

    def estimate(self, key: Key, theta: Theta, state: PyTree) -> tuple[Estimate, PyTree]:
        """Estimates the gradient of the expected meta-loss at `theta`; returns it and the state."""
        ...
