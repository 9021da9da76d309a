"""Multilayer perceptrons of sampled width, depth and activation."""

from dataclasses import dataclass, field
from math import prod
from typing import NamedTuple

import jax
import jax.numpy as jnp

from metarl.core.errors import ConfigError
from metarl.core.keys import split_named
from metarl.core.types import Array, Key, PyTree
from metarl.tasks.datasets import Dataset
from metarl.tasks.families.batches import BatchConfig
from metarl.tasks.families.classification import classifier
from metarl.tasks.families.layers import (
    activate,
    check_activations,
    dense,
    dense_layer,
    standard_weights,
    unit_mask,
)
from metarl.tasks.families.span import Span, check_whole
from metarl.tasks.family import TaskFamily

_MOST_LAYERS = 10


@dataclass(frozen=True, kw_only=True)
class MLPConfig(BatchConfig):
    """Settings of a family of MLPs.

    Attributes:
      width: units of every hidden layer.
      depth: number of hidden layers, from 1 to 10.
      activation: names of activations, sampled uniformly.
    """

    width: Span = field(default=Span(32, 32))
    depth: Span = field(default=Span(1, 1))
    activation: tuple[str, ...] = ("relu",)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_whole("width", self.width)
        check_whole("depth", self.depth)
        if self.depth.high > _MOST_LAYERS:
            raise ConfigError(f"depth must be at most {_MOST_LAYERS}, got {self.depth.high}.")
        check_activations(self.activation)


class Perceptron(NamedTuple):
    """Sampled architecture; int32 scalars.

    Attributes:
      width: units of every hidden layer.
      depth: number of hidden layers.
      activation: index of the activation.
    """

    width: Array
    depth: Array
    activation: Array


def mlp(name: str, config: MLPConfig, dataset: Dataset) -> TaskFamily:
    """Makes the family; parameters are `{"hidden_0": {"bias", "kernel"}, ..., "output": ...}`."""
    inputs = prod(dataset.shape)
    return classifier(
        name,
        config,
        dataset,
        lambda key: sample_perceptron(key, config),
        lambda key, network: init_perceptron(key, network, config, inputs, dataset.classes),
        lambda params, network, x: perceptron(params, network, x.reshape(-1), config),
    )


def sample_perceptron(key: Key, config: MLPConfig) -> Perceptron:
    """Samples an architecture."""
    key_width, key_depth, key_activation = split_named(key, "width", "depth", "activation")
    return Perceptron(
        config.width.draw(key_width),
        config.depth.draw(key_depth),
        jax.random.randint(key_activation, (), 0, len(config.activation)),
    )


def init_perceptron(
    key: Key, network: Perceptron, config: MLPConfig, inputs: int, outputs: int
) -> PyTree:
    """Samples initial parameters; masked units and layers are zero."""
    widest, deepest = int(config.width.high), int(config.depth.high)
    units = unit_mask(network.width, widest)
    hidden = [f"hidden_{i}" for i in range(1, deepest)]
    drawn = standard_weights(
        key,
        {"hidden_0": (inputs, widest), "output": (widest, outputs)}
        | dict.fromkeys(hidden, (widest, widest)),
    )
    layers = {
        "hidden_0": dense_layer(drawn["hidden_0"], inputs, None, units),
        "output": dense_layer(drawn["output"], network.width, units),
    }
    for i, name in enumerate(hidden, 1):
        mask = units * (i < network.depth)
        layers[name] = dense_layer(drawn[name], network.width, units, mask)
    return layers


def perceptron(params: PyTree, network: Perceptron, inputs: Array, config: MLPConfig) -> Array:
    """Maps inputs `[inputs]` to outputs `[outputs]`; layers beyond the depth are the identity."""
    units = unit_mask(network.width, int(config.width.high))
    hidden = jnp.zeros_like(units)
    for i in range(int(config.depth.high)):
        above = dense(params[f"hidden_{i}"], inputs if i == 0 else hidden)
        above = activate(config.activation, network.activation, above)
        above = above * units.astype(above.dtype)
        hidden = above if i < config.depth.low else jnp.where(i < network.depth, above, hidden)
    return dense(params["output"], hidden)
