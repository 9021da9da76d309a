"""Classifiers on a data set."""

from collections.abc import Callable
from math import log

import jax.numpy as jnp
import numpy as np

from metarl.core.types import Array, Key, PyTree
from metarl.tasks.datasets import Dataset
from metarl.tasks.families.batches import BatchConfig, Measure, family_of_data, on_device
from metarl.tasks.families.layers import cross_entropy
from metarl.tasks.family import TaskFamily

Logits = Callable[[PyTree, PyTree, Array], Array]
"""`(params, network, input [...]) -> logits [classes]` of one example."""


def classifier(
    name: str,
    config: BatchConfig,
    dataset: Dataset,
    sample_network: Callable[[Key], PyTree],
    init: Callable[[Key, PyTree], PyTree],
    logits: Logits,
    multipliers: Callable[[PyTree], PyTree] | None = None,
) -> TaskFamily:
    """Makes a family of classifiers; cross-entropy, normalized by `log(classes)` (chance)."""

    def measure(inputs: np.ndarray, targets: np.ndarray) -> tuple[int, Measure]:
        input_at, target_at = on_device(inputs), on_device(targets)

        def one(params: PyTree, network: PyTree, number: Array) -> dict[str, Array]:
            predicted = logits(params, network, dataset.preprocess(input_at(number)))
            target = target_at(number)
            right = (jnp.argmax(predicted) == target).astype(jnp.float32)
            return {"loss": cross_entropy(predicted, target), "accuracy": right}

        return len(targets), one

    return family_of_data(
        name,
        config,
        sample_network,
        init,
        measure(dataset.train_inputs, dataset.train_targets),
        measure(dataset.test_inputs, dataset.test_targets),
        chance=log(dataset.classes),
        multipliers=multipliers,
    )
