"""What the report of a meta-trained optimizer shows: how it moves, and how it grew better."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from metarl.core.keys import named
from metarl.core.mesh import Layout
from metarl.core.types import Array, Key, Theta
from metarl.evaluation.report import Picture
from metarl.optimizers.parameters import describe
from metarl.optimizers.protocol import InnerOptimizer, UpdateContext
from metarl.problems.optimizer.config import OptimizerEvaluationConfig
from metarl.problems.optimizer.figures import (
    UpdateCurves,
    ValidationCurve,
    update_figure,
    validation_figure,
)
from metarl.problems.optimizer.training_curves import (
    TrainingCurves,
    evaluation_steps,
    training_program,
)
from metarl.tasks.family import TaskFamily

HISTORIES = (-1.0, 0.0, 1.0)
"""Past gradients, in units of the scale."""

SCALES = (1e-3, 1.0, 1e3)
"""Typical size of a gradient."""

_GRADIENTS = np.linspace(-3.0, 3.0, 61)
_PAST = 20
_POINTS = 10
_LAST, _MEAN = "last", "mean"


class Validation:
    """Tries theta on the same tasks again and again while it is meta-trained."""

    def __init__(
        self,
        seen: Sequence[TaskFamily],
        optimizer: InnerOptimizer,
        evaluation: OptimizerEvaluationConfig,
        key: Key,
        layout: Layout,
    ):
        """Remembers what to do; compiles in the first call.

        Args:
          seen: families of meta-training.
          optimizer: what is learned.
          evaluation: how long, and on how many tasks.
          key: of the tasks.
          layout: how networks are laid over devices.
        """
        self._key, self._tasks = key, evaluation.validation
        eval_steps = evaluation_steps(evaluation.trial.steps, _POINTS)
        self._programs: dict[str, Callable[[Key, Theta], TrainingCurves]] = {}
        for family in seen if self._tasks else ():
            self._programs[family.name] = training_program(
                family, optimizer, 1, eval_steps, self._tasks, 1, layout
            )

    def __call__(self, theta: Theta) -> dict[str, Any]:
        """The mean normalized training loss of every family, at the end and on average.

        A training that diverged makes both None; empty without validation.
        """
        one = jax.tree.map(lambda x: jnp.asarray(x)[None], theta)
        row: dict[str, Any] = {}
        for name, program in self._programs.items():
            losses = program(named(self._key, name), one).training_scaled[0, :, 0]
            found = {_LAST: losses[:, -1].mean(), _MEAN: losses[:, 1:].mean()}
            row[name] = {n: float(x) if np.isfinite(x) else None for n, x in found.items()}
        return {"validation": row} if row else {}


def validation_picture(
    rows: Sequence[Mapping[str, Any]], seen: Sequence[str]
) -> dict[str, Picture]:
    """How losses on held-out tasks fell; nothing without rows.

    Args:
      rows: of `Validation`, each with its `generation`.
      seen: families of meta-training.
    """
    rows = [row for row in rows if row.get("validation")]
    if not rows:
        return {}
    at = np.array([row["generation"] for row in rows])

    def column(family: str, what: str) -> np.ndarray:
        values = [row["validation"].get(family, {}).get(what) for row in rows]
        return np.array([np.nan if x is None else x for x in values], float)

    curves = [ValidationCurve(name, at, column(name, _LAST), column(name, _MEAN)) for name in seen]
    return {
        "validation": Picture(
            validation_figure(curves),
            "Held-out tasks during meta-training",
            "Mean training loss on tasks that are not those of meta-training, always the same "
            "ones; 1 is nothing learned.",
        )
    }


def update_picture(
    optimizer: InnerOptimizer, thetas: Mapping[str, Theta], num_steps: int
) -> dict[str, Picture]:
    """The update as a function of the gradient, after constant gradients, at three scales."""
    curves = [
        UpdateCurves(name, np.asarray(update_curves(optimizer, theta, num_steps)))
        for name, theta in thetas.items()
    ]
    return {
        "updates": Picture(
            update_figure(curves, _GRADIENTS, HISTORIES, SCALES),
            "The update against the gradient",
            f"What is added to a parameter on a gradient, after {_PAST} gradients that were all "
            "as the colour says, in tensors whose gradients are small, middling and large. An "
            "optimizer that does not care for the scale has the same panel three times.",
        )
    }


def update_curves(optimizer: InnerOptimizer, theta: Theta, num_steps: int) -> Array:
    """Updates `[scales, histories, gradients]` of parameters that are zero."""
    past = np.broadcast_to(np.array(HISTORIES)[:, None], (len(HISTORIES), _GRADIENTS.size))
    now = np.broadcast_to(_GRADIENTS, past.shape)
    params = {"w": jnp.zeros(past.shape)}
    info = describe(params)

    def at(scale: Array) -> Array:
        tx = optimizer.transformation(theta, info, num_steps)
        before, last = (scale * jnp.asarray(x, jnp.float32) for x in (past, now))

        def update(state: Any, gradient: Array) -> tuple[Any, Array]:
            context = UpdateContext(
                jnp.float32(0.0), jnp.float32(0.0), jax.random.key(0), value=jnp.float32(1.0)
            )
            moved, state = tx.update({"w": gradient}, state, params, **context._asdict())
            return state, moved["w"]

        state = jax.lax.scan(
            lambda state, _: (update(state, before)[0], None), tx.init(params), None, _PAST
        )[0]
        return update(state, last)[1]

    return jax.jit(lambda scales: jax.lax.map(at, scales))(jnp.array(SCALES))
