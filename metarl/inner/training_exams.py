"""Meta-losses of training: what a stretch of updates was worth, one number.

For a whole lifetime, `Unroll(tasks, Training(...), length, mean_loss)`; what the loss is measured
on is the learner's `score`. For lives lived in parts, `Truncation(Training(...), length, lifetime,
window_exam(mean_loss))`, or one of the other exams. NaN stands for training that diverged, and is
dealt with by the estimator.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from metarl.core.contracts import Truncation
from metarl.core.errors import check_positive
from metarl.core.exams import Exam, exam_of
from metarl.core.types import Array, Key, PyTree, Theta
from metarl.inner.training import Score, Training, TrainingLog, TrainingState, lifetime
from metarl.tasks.family import TaskFamily
from metarl.tasks.lifetimes import TimedTask

Reduce = Callable[[TrainingLog], Array]
"""Logs `[K]` of a stretch of updates to one number."""


def mean_loss(logs: TrainingLog) -> Array:
    """Mean meta-loss of a stretch: the area under the training curve."""
    return _unless_diverged(jnp.mean(logs.meta_loss), logs)


def last_loss(logs: TrainingLog) -> Array:
    """Meta-loss of the last update of a stretch: only where it ends counts."""
    return _unless_diverged(logs.meta_loss[-1], logs)


def least_loss(logs: TrainingLog) -> Array:
    """Least meta-loss of a stretch."""
    return _unless_diverged(jnp.min(logs.meta_loss), logs)


def fresh_loss(family: TaskFamily, batches: int = 1) -> Score:
    """Scores parameters on training data that the update did not see.

    Args:
      family: of the training problems.
      batches: how many batches are drawn.
    """
    check_positive(batches=batches)

    def score(params: PyTree, key: Key, task: PyTree) -> Array:
        keys = jax.random.split(key, batches)
        losses = jax.vmap(lambda k: family.loss(params, k, task))(keys)
        return _normalised(family, jnp.mean(losses), task)

    return score


def held_out_loss(family: TaskFamily) -> Score:
    """Scores parameters on data that training never sees."""

    def score(params: PyTree, key: Key, task: PyTree) -> Array:
        return _normalised(family, family.evaluate(params, key, task)["loss"], task)

    return score


def window_exam(reduce: Reduce = mean_loss) -> Exam:
    """The exam that looks at the meta-losses of the part, by `mean_loss`, `last_loss` or such."""
    return exam_of(reduce, _seen)


def final_exam(score: Score | None = None) -> Exam:
    """The exam of which only the last one of a life counts: the loss where training ends.

    Exams before it give zero, so that their sum over a life is its final loss; an estimator that
    credits a life's noise across its parts (PES, noise reuse) then estimates the gradient of that.

    Args:
      score: what is measured there; None = the meta-loss of the last update.
    """

    def exam(
        key: Key, theta: Theta, task: TimedTask, state: TrainingState, logs: TrainingLog
    ) -> tuple[Array, TrainingState, dict[str, Array]]:
        del theta
        end = logs.meta_loss[-1] if score is None else score(state.params, key, task.task)
        final = jnp.where(state.step >= task.lifetime, end, jnp.zeros_like(end))
        return _unless_diverged(final, logs), state, _seen(logs)

    return exam


def end_exam(score: Score) -> Exam:
    """The exam that scores the parameters where the part ends, by `fresh_loss(family)` or such."""

    def exam(
        key: Key, theta: Theta, task: TimedTask, state: TrainingState, logs: TrainingLog
    ) -> tuple[Array, TrainingState, dict[str, Array]]:
        del theta
        loss = score(state.params, key, task.task)
        return _unless_diverged(loss, logs), state, _seen(logs)

    return exam


def parts_of_training(learner: Training, length: int, exam: Exam | None = None) -> Truncation:
    """Lives of training in parts of `length` updates.

    Args:
      learner: a network and its optimizer.
      length: K, updates of a part.
      exam: meta-loss of a part; None = mean meta-loss over it.
    """
    return Truncation(learner, length, lifetime, exam or window_exam())


def _normalised(family: TaskFamily, loss: Array, task: PyTree) -> Array:
    loss = loss.astype(jnp.float32)
    return jnp.where(jnp.isfinite(loss), family.normalize(loss, task), jnp.nan)


def _unless_diverged(meta_loss: Array, logs: TrainingLog) -> Array:
    healthy = jnp.all(jnp.isfinite(logs.loss)) & jnp.isfinite(meta_loss)
    return jnp.where(healthy, meta_loss, jnp.nan)


def _seen(logs: TrainingLog) -> dict[str, Array]:
    """Scalars for people to see."""
    return {name: jnp.mean(value) for name, value in logs._asdict().items()}
