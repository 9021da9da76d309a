"""Families of training problems: data, parameters and loss as pure functions of a sampled task."""

from collections.abc import Callable
from dataclasses import dataclass

from metarl.core.types import Array, Key, PyTree, Task


def _unchanged(loss: Array, task: Task) -> Array:
    del task
    return loss


@dataclass(frozen=True)
class TaskFamily:
    """Training problems of one kind; meets `TaskDistribution`.

    Every function is pure and can be vmapped over tasks: what differs between two tasks of a family
    (a width, a scale, a data set's part) is an array in the task, never a shape.

    Attributes:
      name: by which `metarl.tasks.families.make` knows it.
      sample: `key -> task`, an array pytree of fixed structure.
      init: `(key, task) -> params` at the start of training.
      loss: `(params, key, task) -> loss`, a scalar, on the training batch that `key` draws.
      evaluate: `(params, key, task) -> {"loss": scalar, ...}` on data that training never sees.
      normalize: `(loss, task) -> loss` on a scale on which tasks of different families compare.
      multipliers: `task -> tree like params` of scalars by which maximal-update parametrisation
        multiplies the updates of each tensor; None = the networks have no such parametrisation.
    """

    name: str
    sample: Callable[[Key], Task]
    init: Callable[[Key, Task], PyTree]
    loss: Callable[[PyTree, Key, Task], Array]
    evaluate: Callable[[PyTree, Key, Task], dict[str, Array]]
    normalize: Callable[[Array, Task], Array] = _unchanged
    multipliers: Callable[[Task], PyTree] | None = None
