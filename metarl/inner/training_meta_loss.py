"""Meta-losses of supervised training: maps the logs of updates to one scalar.

For a whole training run: `Unroll(tasks, Training(...), length, mean_loss)`. For truncated unrolls:
`Truncation(Training(...), length, lifetime, window_meta_loss(mean_loss))`, or another meta-loss of
this module. The learner's `score` selects the data on which the loss is measured. NaN marks
training that diverged; the estimator handles it.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from metarl.core.contracts import Truncation
from metarl.core.errors import check_positive
from metarl.core.meta_loss import MetaLoss, meta_loss_from_logs
from metarl.core.types import Array, Key, PyTree, Theta
from metarl.inner.training import Score, Training, TrainingLog, TrainingState, lifetime
from metarl.tasks.family import TaskFamily
from metarl.tasks.lifetimes import TimedTask

Reduce = Callable[[TrainingLog], Array]
"""Maps the logs `[K]` of K updates to a scalar."""


def mean_loss(logs: TrainingLog) -> Array:
    """Mean meta-loss over the updates: the area under the training curve."""
    return _unless_diverged(jnp.mean(logs.meta_loss), logs)


def last_loss(logs: TrainingLog) -> Array:
    """Meta-loss of the last update."""
    return _unless_diverged(logs.meta_loss[-1], logs)


def min_loss(logs: TrainingLog) -> Array:
    """Minimum meta-loss over the updates."""
    return _unless_diverged(jnp.min(logs.meta_loss), logs)


def fresh_loss(family: TaskFamily, batches: int = 1) -> Score:
    """Returns a score: the loss on fresh training batches, which the update did not use.

    Args:
      family: family of the training problems.
      batches: number of batches.
    """
    check_positive(batches=batches)

    def score(params: PyTree, key: Key, task: PyTree) -> Array:
        keys = jax.random.split(key, batches)
        losses = jax.vmap(lambda k: family.loss(params, k, task))(keys)
        return _normalized(family, jnp.mean(losses), task)

    return score


def held_out_loss(family: TaskFamily) -> Score:
    """Returns a score: the loss on held-out data, which training never uses."""

    def score(params: PyTree, key: Key, task: PyTree) -> Array:
        return _normalized(family, family.evaluate(params, key, task)["loss"], task)

    return score


def window_meta_loss(reduce: Reduce = mean_loss) -> MetaLoss:
    """Returns the meta-loss that reduces the logs of the window, such as by `mean_loss`."""
    return meta_loss_from_logs(reduce, _summary)


def final_meta_loss(score: Score | None = None) -> MetaLoss:
    """Returns the meta-loss that is the loss at the end of training, and zero before.

    The sum over all windows of an unroll is its final loss. An estimator that credits noise across
    windows (PES, noise-reuse ES) then estimates the gradient of the final loss.

    Args:
      score: score of the final parameters; None = the meta-loss of the last update.
    """

    def meta_loss(
        key: Key, theta: Theta, task: TimedTask, state: TrainingState, logs: TrainingLog
    ) -> tuple[Array, TrainingState, dict[str, Array]]:
        del theta
        end = logs.meta_loss[-1] if score is None else score(state.params, key, task.task)
        final = jnp.where(state.step >= task.lifetime, end, jnp.zeros_like(end))
        return _unless_diverged(final, logs), state, _summary(logs)

    return meta_loss


def end_meta_loss(score: Score) -> MetaLoss:
    """Returns the meta-loss that scores the parameters at the end of every window.

    Args:
      score: score of the parameters, such as `fresh_loss(family)`.
    """

    def meta_loss(
        key: Key, theta: Theta, task: TimedTask, state: TrainingState, logs: TrainingLog
    ) -> tuple[Array, TrainingState, dict[str, Array]]:
        del theta
        loss = score(state.params, key, task.task)
        return _unless_diverged(loss, logs), state, _summary(logs)

    return meta_loss


def training_truncation(
    learner: Training, length: int, meta_loss: MetaLoss | None = None
) -> Truncation:
    """Returns the truncation of a training run into windows of `length` updates.

    Args:
      learner: network and optimizer.
      length: K, updates in a window.
      meta_loss: meta-loss of a window; None = mean meta-loss over it.
    """
    return Truncation(learner, length, lifetime, meta_loss or window_meta_loss())


def _normalized(family: TaskFamily, loss: Array, task: PyTree) -> Array:
    loss = loss.astype(jnp.float32)
    return jnp.where(jnp.isfinite(loss), family.normalize(loss, task), jnp.nan)


def _unless_diverged(meta_loss: Array, logs: TrainingLog) -> Array:
    healthy = jnp.all(jnp.isfinite(logs.loss)) & jnp.isfinite(meta_loss)
    return jnp.where(healthy, meta_loss, jnp.nan)


def _summary(logs: TrainingLog) -> dict[str, Array]:
    """Means of all logged scalars over the window."""
    return {name: jnp.mean(value) for name, value in logs._asdict().items()}
