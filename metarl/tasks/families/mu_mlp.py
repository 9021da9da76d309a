"""MLPs in maximal update parametrization (muP): good step sizes do not depend on the width.

Hidden weights have initial variance 1 / width, and their updates are multiplied by `1 / width`;
output weights start at zero, and outputs are divided by the width; biases are standard normal. The
optimizer receives the multipliers (`ParameterInfo.multiplier`) and must apply them.

Reference: Yang et al. 2022, arXiv:2203.03466; Therien et al. 2024, arXiv:2406.00153, whose learned
optimizers were meta-trained in this parametrization.
"""

from dataclasses import dataclass
from math import prod

import jax
import jax.numpy as jnp

from metarl.core.errors import check_positive
from metarl.core.keys import split_named
from metarl.core.types import Array, Key, PyTree
from metarl.tasks.datasets import Dataset
from metarl.tasks.families.classification import classifier
from metarl.tasks.families.layers import unit_mask
from metarl.tasks.families.mlp import (
    MLPConfig,
    Perceptron,
    init_perceptron,
    perceptron,
    sample_perceptron,
)
from metarl.tasks.family import TaskFamily


@dataclass(frozen=True, kw_only=True)
class MuMLPConfig(MLPConfig):
    """Settings; see `MLPConfig` for the others.

    Attributes:
      input_multiplier: multiplier of the inputs.
      output_multiplier: multiplier of the outputs, before division by the width.
      hidden_multiplier: multiplier of the updates of hidden weights, before division by the width.
    """

    input_multiplier: float = 1.0
    output_multiplier: float = 1.0
    hidden_multiplier: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_positive(
            input_multiplier=self.input_multiplier,
            output_multiplier=self.output_multiplier,
            hidden_multiplier=self.hidden_multiplier,
        )


def mu_mlp(name: str, config: MuMLPConfig, dataset: Dataset) -> TaskFamily:
    """Makes the family; the parameters are those of `mlp`."""
    inputs = prod(dataset.shape)

    def logits(params: PyTree, network: Perceptron, x: Array) -> Array:
        scaled = config.input_multiplier * x.reshape(-1)
        out = perceptron(params, network, scaled, config)
        return out * (config.output_multiplier / network.width).astype(out.dtype)

    return classifier(
        name,
        config,
        dataset,
        lambda key: sample_perceptron(key, config),
        lambda key, network: _init(key, network, config, inputs, dataset.classes),
        logits,
        lambda network: multipliers(network, config),
    )


def multipliers(network: Perceptron, config: MuMLPConfig) -> PyTree:
    """Returns the multipliers of the updates, a tree like the parameters."""
    one = jnp.float32(1.0)
    tree = {"hidden_0": {"kernel": one, "bias": one}, "output": {"kernel": one, "bias": one}}
    for i in range(1, int(config.depth.high)):
        tree[f"hidden_{i}"] = {"kernel": config.hidden_multiplier / network.width, "bias": one}
    return tree


def _init(key: Key, network: Perceptron, config: MuMLPConfig, inputs: int, outputs: int) -> PyTree:
    key_weights, key_biases = split_named(key, "weights", "biases")
    layers = init_perceptron(key_weights, network, config, inputs, outputs)
    layers["output"]["kernel"] = jnp.zeros_like(layers["output"]["kernel"])
    widest, deepest = int(config.width.high), int(config.depth.high)
    drawn = jax.random.normal(key_biases, (deepest * widest + outputs,))
    units = unit_mask(network.width, widest)
    for i in range(deepest):
        mask = units * (i < network.depth)
        layers[f"hidden_{i}"]["bias"] = drawn[i * widest : (i + 1) * widest] * mask
    layers["output"]["bias"] = drawn[deepest * widest :]
    return layers
