"""Supervised training as a learner: a task family, trained with a (learned) optimizer.

One inner step is one update of one network. Theta holds the meta-parameters of the optimizer, so
that every gradient estimator can meta-train it.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import optax

from metarl.core.errors import ConfigError
from metarl.core.keys import split_named
from metarl.core.types import Array, Key, PyTree, Theta
from metarl.optimizers.parameters import describe, leaf_paths
from metarl.optimizers.protocol import InnerOptimizer, UpdateContext
from metarl.tasks.family import TaskFamily
from metarl.tasks.lifetimes import TimedTask

Score: TypeAlias = Callable[[PyTree, Key, PyTree], Array]
"""`(params, key, family task) -> scalar`, lower is better; see `inner.training_meta_loss`."""


class TrainingState(NamedTuple):
    """State of a training run.

    Attributes:
      params: parameters of the network, a pytree of floating-point tensors.
      opt_state: state of the optimizer.
      step: number n of updates so far, an int32 scalar.
    """

    params: PyTree
    opt_state: optax.OptState
    step: Array


class TrainingLog(NamedTuple):
    """Log of one update; float32 scalars.

    Attributes:
      loss: training loss on the batch of this update, before the update.
      grad_norm: global norm of the gradient.
      update_norm: global norm of the update.
      meta_loss: meta-loss of this step (`Training.score`); NaN where training diverged.
    """

    loss: Array
    grad_norm: Array
    update_norm: Array
    meta_loss: Array


@dataclass(frozen=True)
class Training:
    """The learner; `theta` is that of the optimizer, a task is a `TimedTask` of N updates.

    Attributes:
      family: task family.
      optimizer: optimizer that maps gradients to updates.
      score: function that computes `meta_loss` after every update, at the cost of a forward pass;
        None = the training loss, normalized by the family, at no extra cost.
    """

    family: TaskFamily
    optimizer: InnerOptimizer
    score: Score | None = None

    def init(self, key: Key, theta: Theta, task: TimedTask) -> TrainingState:
        """Initializes a network and its optimizer state.

        Raises:
          ConfigError: a parameter is not of a floating-point type.
        """
        params = self.family.init(key, task.task)
        for path, leaf in zip(leaf_paths(params), jax.tree.leaves(params), strict=True):
            if not jnp.issubdtype(jnp.asarray(leaf).dtype, jnp.floating):
                raise ConfigError(
                    f"The parameter {path!r} of family {self.family.name!r} has dtype "
                    f"{jnp.asarray(leaf).dtype}; only floating-point ones can be trained."
                )
        opt_state = self._transformation(theta, params, task).init(params)
        return TrainingState(params, opt_state, jnp.int32(0))

    def step(
        self, key: Key, theta: Theta, task: TimedTask, state: TrainingState
    ) -> tuple[TrainingState, TrainingLog]:
        """Makes one update of the network on a batch sampled with `key`.

        Raises:
          ConfigError: the family's loss is not a scalar, or its multipliers do not match the
            parameters.
        """
        key_batch, key_optimizer, key_score = split_named(key, "batch", "optimizer", "score")
        loss, gradient = jax.value_and_grad(self._loss)(state.params, key_batch, task)
        last = jnp.maximum(task.lifetime - 1, 1)
        context = UpdateContext(
            progress=jnp.clip(state.step / last, 0.0, 1.0),
            epoch_progress=jnp.float32(0.0),
            key=key_optimizer,
            value=loss,
        )
        tx = self._transformation(theta, state.params, task)
        updates, opt_state = tx.update(gradient, state.opt_state, state.params, **context._asdict())
        params = optax.apply_updates(state.params, updates)
        if self.score is None:
            meta_loss = self.family.normalize(loss, task.task)
        else:
            meta_loss = self.score(params, key_score, task.task)
        log = TrainingLog(
            loss,
            _norm(gradient),
            _norm(updates),
            jnp.where(jnp.isfinite(loss), meta_loss, jnp.nan),
        )
        return TrainingState(params, opt_state, state.step + 1), log

    def _loss(self, params: PyTree, key: Key, task: TimedTask) -> Array:
        loss = self.family.loss(params, key, task.task)
        if jnp.shape(loss):
            raise ConfigError(
                f"The loss of family {self.family.name!r} must be a scalar, "
                f"got shape {jnp.shape(loss)}."
            )
        return loss.astype(jnp.float32)

    def _transformation(
        self, theta: Theta, params: PyTree, task: TimedTask
    ) -> optax.GradientTransformationExtraArgs:
        info = describe(params)
        if self.family.multipliers is not None:
            multipliers = self.family.multipliers(task.task)
            if leaf_paths(multipliers) != leaf_paths(params):
                raise ConfigError(
                    f"The multipliers of family {self.family.name!r} are for "
                    f"{leaf_paths(multipliers)}, its parameters are {leaf_paths(params)}."
                )
            info = tuple(
                replace(about, multiplier=multiplier)
                for about, multiplier in zip(info, jax.tree.leaves(multipliers), strict=True)
            )
        return self.optimizer.transformation(theta, info, task.lifetime)


def lifetime(task: TimedTask) -> Array:
    """Returns the number N of updates of a task, for `Truncation`."""
    return task.lifetime


def _norm(tree: PyTree) -> Array:
    return optax.tree.norm(jax.tree.map(lambda x: x.astype(jnp.float32), tree))
