"""Task families: data, initialization and loss as pure functions of a sampled task."""

from collections.abc import Callable
from dataclasses import dataclass

from metarl.core.types import Array, Key, PyTree, Task


def _unchanged(loss: Array, task: Task) -> Array:
    del task
    return loss


@dataclass(frozen=True)
class TaskFamily:
    """A family of training problems; implements `TaskDistribution`.

    All functions are pure and can be vmapped over tasks: differences between tasks of a family (a
    width, a scale, a part of a data set) are arrays in the task, never shapes.

    Attributes:
      name: name in `metarl.tasks.families.make`.
      sample: `key -> task`, an array pytree of fixed structure.
      init: `(key, task) -> params`, the initial parameters.
      loss: `(params, key, task) -> loss`, a scalar, on the training batch sampled with `key`.
      evaluate: `(params, key, task) -> {"loss": scalar, ...}` on held-out data.
      normalize: `(loss, task) -> loss`, normalized so that losses of different families are
        comparable.
      multipliers: `task -> tree like params` of scalars by which the maximal update parametrization
        (muP) multiplies the updates of each tensor; None = no such parametrization.
    """

    name: str
    sample: Callable[[Key], Task]
    init: Callable[[Key, Task], PyTree]
    loss: Callable[[PyTree, Key, Task], Array]
    evaluate: Callable[[PyTree, Key, Task], dict[str, Array]]
    normalize: Callable[[Array, Task], Array] = _unchanged
    multipliers: Callable[[Task], PyTree] | None = None
