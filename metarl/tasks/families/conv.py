"""Convolutional classifiers of sampled widths."""

from dataclasses import dataclass, field
from typing import NamedTuple

import jax
import jax.numpy as jnp

from metarl.core.errors import ConfigError
from metarl.core.types import Array, Key, PyTree
from metarl.tasks.datasets import Dataset
from metarl.tasks.families.batches import BatchConfig
from metarl.tasks.families.classification import classifier
from metarl.tasks.families.layers import dense, dense_layer, standard_weights, unit_mask
from metarl.tasks.families.span import Span, check_whole
from metarl.tasks.family import TaskFamily

_SIDE = 3
"""Side of the kernels."""


@dataclass(frozen=True, kw_only=True)
class ConvConfig(BatchConfig):
    """Settings of a family of convolutional networks.

    Attributes:
      width: channels of a layer, sampled for each layer.
      layers: number of convolutions; each has stride 2.
    """

    width: Span = field(default=Span(16, 16))
    layers: int = 2

    def __post_init__(self) -> None:
        super().__post_init__()
        check_whole("width", self.width)
        if not 1 <= self.layers <= 10:
            raise ConfigError(f"layers must lie in [1, 10], got {self.layers}.")


class Convolutions(NamedTuple):
    """Sampled architecture: channels of each layer, `[layers]` int32."""

    widths: Array


def conv(name: str, config: ConvConfig, dataset: Dataset) -> TaskFamily:
    """Makes the family: 3x3 convolutions of stride 2, ReLU, global mean, one dense layer.

    Raises:
      ConfigError: the data are not images.
    """
    if len(dataset.shape) != 3:
        raise ConfigError(f"{name} needs images, but {dataset.name} has inputs {dataset.shape}.")
    channels, widest = dataset.shape[-1], int(config.width.high)

    def sample(key: Key) -> Convolutions:
        keys = jax.random.split(key, config.layers)
        return Convolutions(jnp.stack([config.width.draw(key) for key in keys]))

    def init(key: Key, network: Convolutions) -> PyTree:
        sizes = (channels, *[widest] * config.layers)
        drawn = standard_weights(
            key,
            {f"conv_{i}": (_SIDE, _SIDE, *sizes[i : i + 2]) for i in range(config.layers)}
            | {"output": (widest, dataset.classes)},
        )
        layers, count, rows = {}, jnp.int32(channels), jnp.ones(channels)
        for i in range(config.layers):
            units = unit_mask(network.widths[i], widest)
            layers[f"conv_{i}"] = dense_layer(drawn[f"conv_{i}"], _SIDE**2 * count, rows, units)
            count, rows = network.widths[i], units
        layers["output"] = dense_layer(drawn["output"], count, rows)
        return layers

    def logits(params: PyTree, network: Convolutions, x: Array) -> Array:
        for i in range(config.layers):
            layer = params[f"conv_{i}"]
            flat = {"kernel": layer["kernel"].reshape(-1, widest), "bias": layer["bias"]}
            x = jax.nn.relu(dense(flat, _patches(x)))
            x = x * unit_mask(network.widths[i], widest).astype(x.dtype)[None, None]
        return dense(params["output"], jnp.mean(x, axis=(0, 1)))

    return classifier(name, config, dataset, sample, init, logits)


def _patches(x: Array) -> Array:
    """Returns 3x3 patches with stride 2, `[height / 2, width / 2, 9 * channels]` (im2col).

    Products with patches are several times faster than convolutions if each network of a batch has
    its own kernels.
    """
    height, width, _ = x.shape
    rows, columns = (height + 1) // 2, (width + 1) // 2
    x = jnp.pad(x, ((1, 1), (1, 1), (0, 0)))
    return jnp.concatenate(
        [
            x[i : i + 2 * rows - 1 : 2, j : j + 2 * columns - 1 : 2]
            for i in range(_SIDE)
            for j in range(_SIDE)
        ],
        axis=-1,
    )
