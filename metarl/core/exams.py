"""Exams of a `Truncation` that look at nothing but the logs of the part."""

from collections.abc import Callable

from metarl.core.types import Array, Key, LearnerState, Log, Task, Theta

Exam = Callable[[Key, Theta, Task, LearnerState, Log], tuple[Array, LearnerState, dict[str, Array]]]
"""What `Truncation` asks after every part."""


def exam_of(
    loss: Callable[[Log], Array], seen: Callable[[Log], dict[str, Array]] | None = None
) -> Exam:
    """Makes an exam of a loss that `Unroll` could take too, for a learner of any kind.

    Args:
      loss: maps the logs of a part, leaves `[K, ...]`, to the scalar to minimise; it must be NaN
        where the part diverged.
      seen: scalars by name for people to see; None = nothing.
    """

    def exam(
        key: Key, theta: Theta, task: Task, state: LearnerState, logs: Log
    ) -> tuple[Array, LearnerState, dict[str, Array]]:
        del key, theta, task
        return loss(logs), state, {} if seen is None else seen(logs)

    return exam
