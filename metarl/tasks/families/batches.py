"""Task families with data: minibatches from memory, and held-out examples."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from metarl.core.errors import check_positive
from metarl.core.keys import split_named
from metarl.core.types import Array, Key, PyTree, Task
from metarl.tasks.families.scale import compress
from metarl.tasks.families.span import Span, check_whole
from metarl.tasks.family import TaskFamily


@dataclass(frozen=True, kw_only=True)
class BatchConfig:
    """Settings of all families with data.

    Attributes:
      batch: batch size. The cost is that of the largest batch size for all tasks.
      evaluated: number of held-out examples of an evaluation, sampled with replacement.
    """

    batch: Span = field(default=Span(128, 128))
    evaluated: int = 512

    def __post_init__(self) -> None:
        check_whole("batch", self.batch)
        check_positive(evaluated=self.evaluated)


class BatchTask(NamedTuple):
    """The task.

    Attributes:
      network: sampled architecture, a pytree.
      batch: batch size, an int32 scalar.
    """

    network: PyTree
    batch: Array


Measure = Callable[[PyTree, PyTree, Array], dict[str, Array]]
"""`(params, network, index of an example) -> {"loss": scalar, ...}` of one example."""


def family_of_data(
    name: str,
    config: BatchConfig,
    sample_network: Callable[[Key], PyTree],
    init: Callable[[Key, PyTree], PyTree],
    train: tuple[int, Measure],
    test: tuple[int, Measure],
    chance: float,
    multipliers: Callable[[PyTree], PyTree] | None = None,
) -> TaskFamily:
    """Makes a family whose loss is a mean over examples.

    Args:
      name: name of the family.
      config: settings of batches.
      sample_network: function that samples the architecture.
      init: `(key, network) -> params`.
      train: number of training examples, and function that evaluates one.
      test: number of held-out examples, and function that evaluates one.
      chance: loss at chance level, for normalization.
      multipliers: `network -> tree like params`, see `TaskFamily`.
    """
    most = int(config.batch.high)

    def sample(key: Key) -> BatchTask:
        key_network, key_batch = split_named(key, "network", "batch")
        return BatchTask(sample_network(key_network), config.batch.draw(key_batch))

    def loss(params: PyTree, key: Key, task: BatchTask) -> Array:
        examples, measure = train
        numbers = _numbers(key, most, examples)
        losses = jax.vmap(lambda i: measure(params, task.network, i)["loss"])(numbers)
        if config.batch.low == config.batch.high:
            return jnp.mean(losses)
        return jnp.mean(losses, where=jnp.arange(most) < task.batch)

    def evaluate(params: PyTree, key: Key, task: BatchTask) -> dict[str, Array]:
        examples, measure = test
        numbers = _numbers(key, config.evaluated, examples)
        measured = jax.vmap(partial(measure, params, task.network))(numbers)
        return jax.tree.map(jnp.mean, measured)

    def normalize(loss: Array, task: Task) -> Array:
        del task
        return compress(loss / chance)

    return TaskFamily(
        name,
        sample,
        lambda key, task: init(key, task.network),
        loss,
        evaluate,
        normalize,
        None if multipliers is None else lambda task: multipliers(task.network),
    )


def _numbers(key: Key, count: int, below: int) -> Array:
    """Samples `count` integers below a bound of at most 2^22, `[count]` int32.

    It uses 23 random bits per integer: relative probabilities differ by at most `below / 2^23`, and
    it is twice as fast as `jax.random.randint`.
    """
    drawn = jnp.floor(jax.random.uniform(key, (count,)) * below).astype(jnp.int32)
    return jnp.minimum(drawn, below - 1)


def on_device(array: np.ndarray) -> Callable[[Array], Array]:
    """Returns a function from the index of an example to the example, for use under jit."""

    def at(number: Array) -> Array:
        return jax.lax.dynamic_index_in_dim(jnp.asarray(array), number, keepdims=False)

    return at
