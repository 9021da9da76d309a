"""Autoencoders: MLPs with a bottleneck."""

from dataclasses import dataclass, field
from math import prod
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from metarl.core.keys import split_named
from metarl.core.types import Array, Key, PyTree
from metarl.tasks.datasets import Dataset
from metarl.tasks.families.batches import BatchConfig, Measure, family_of_data, on_device
from metarl.tasks.families.layers import dense, dense_layer, standard_weights, unit_mask
from metarl.tasks.families.span import Span, check_whole
from metarl.tasks.family import TaskFamily


@dataclass(frozen=True, kw_only=True)
class AutoencoderConfig(BatchConfig):
    """Settings of a family of autoencoders.

    Attributes:
      width: units of the encoder and decoder layers.
      code: units of the code.
    """

    width: Span = field(default=Span(32, 32))
    code: Span = field(default=Span(8, 8))

    def __post_init__(self) -> None:
        super().__post_init__()
        check_whole("width", self.width)
        check_whole("code", self.code)


class Bottleneck(NamedTuple):
    """Sampled architecture: units of encoder and decoder layers, and of the code; int32 scalars."""

    width: Array
    code: Array


def autoencoder(name: str, config: AutoencoderConfig, dataset: Dataset) -> TaskFamily:
    """Makes the family: mean squared error, tanh units, and a sigmoid output for data in [0, 1].

    Losses are normalized by the variance of the data about the mean of each element.
    """
    inputs, widest, longest = prod(dataset.shape), int(config.width.high), int(config.code.high)
    # Data stored as bytes are in [0, 1]; others are unbounded.
    bounded = dataset.train_inputs.dtype == np.uint8

    def sample(key: Key) -> Bottleneck:
        key_width, key_code = split_named(key, "width", "code")
        return Bottleneck(config.width.draw(key_width), config.code.draw(key_code))

    def init(key: Key, network: Bottleneck) -> PyTree:
        sizes = (inputs, widest, longest, widest, inputs)
        drawn = standard_weights(key, {f"layer_{i}": sizes[i : i + 2] for i in range(4)})
        units, code = unit_mask(network.width, widest), unit_mask(network.code, longest)
        return {
            "layer_0": dense_layer(drawn["layer_0"], inputs, None, units),
            "layer_1": dense_layer(drawn["layer_1"], network.width, units, code),
            "layer_2": dense_layer(drawn["layer_2"], network.code, code, units),
            "layer_3": dense_layer(drawn["layer_3"], network.width, units),
        }

    def reproduced(params: PyTree, network: Bottleneck, x: Array) -> Array:
        units, code = unit_mask(network.width, widest), unit_mask(network.code, longest)
        for i, mask in enumerate((units, code, units)):
            x = jnp.tanh(dense(params[f"layer_{i}"], x))
            x = x * mask.astype(x.dtype)
        out = dense(params["layer_3"], x)
        return jax.nn.sigmoid(out) if bounded else out

    def measure(data: np.ndarray) -> tuple[int, Measure]:
        input_at = on_device(data)

        def one(params: PyTree, network: Bottleneck, number: Array) -> dict[str, Array]:
            x = dataset.preprocess(input_at(number)).reshape(-1)
            error = reproduced(params, network, x).astype(jnp.float32) - x
            return {"loss": jnp.mean(error**2)}

        return len(data), one

    flat = dataset.train_inputs.reshape(len(dataset.train_inputs), -1) * float(dataset.scale)
    return family_of_data(
        name,
        config,
        sample,
        init,
        measure(dataset.train_inputs),
        measure(dataset.test_inputs),
        chance=float(np.mean(np.var(flat, axis=0))),
    )
