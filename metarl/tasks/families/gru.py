"""A recurrent language model of sampled width: a gated recurrent unit (Cho et al. 2014).

r, z = sigmoid(W_r x + U_r h), sigmoid(W_z x + U_z h)
n    = tanh(W_n x + r * (U_n h + c))
h'   = (1 - z) n + z h
"""

from dataclasses import dataclass, field
from typing import NamedTuple

import jax
import jax.numpy as jnp

from metarl.core.types import Array, Key, PyTree
from metarl.tasks.datasets import Text
from metarl.tasks.families.language import LanguageConfig, language_model
from metarl.tasks.families.layers import dense, dense_layer, kernel, standard_weights, unit_mask
from metarl.tasks.families.span import Span, check_whole
from metarl.tasks.family import TaskFamily


@dataclass(frozen=True, kw_only=True)
class GRUConfig(LanguageConfig):
    """Settings of a family of recurrent models.

    Attributes:
      width: units of the state, and size of a character's embedding.
    """

    width: Span = field(default=Span(32, 32))

    def __post_init__(self) -> None:
        super().__post_init__()
        check_whole("width", self.width)


class Recurrent(NamedTuple):
    """Sampled architecture: units, an int32 scalar."""

    width: Array


def gru(name: str, config: GRUConfig, text: Text) -> TaskFamily:
    """Makes the family; the three blocks of a kernel's columns are r, z, n."""
    widest, characters = int(config.width.high), len(text.characters)

    def init(key: Key, network: Recurrent) -> PyTree:
        drawn = standard_weights(
            key,
            {
                "embedding": (characters, widest),
                "input": (widest, 3 * widest),
                "output": (widest, characters),
                "state": (widest, 3 * widest),
            },
        )
        units = unit_mask(network.width, widest)
        gates = jnp.tile(units, 3)
        return {
            "embedding": {"kernel": kernel(drawn["embedding"], network.width, None, units)},
            "input": dense_layer(drawn["input"], network.width, units, gates),
            "output": dense_layer(drawn["output"], network.width, units),
            "state": {
                "kernel": kernel(drawn["state"], network.width, units, gates),
                "bias": jnp.zeros(widest),
            },
        }

    def logits(params: PyTree, network: Recurrent, tokens: Array) -> Array:
        embedded = params["embedding"]["kernel"][tokens]
        units = unit_mask(network.width, widest).astype(embedded.dtype)
        inputs = dense(params["input"], embedded * units[None])

        def step(h: Array, x: Array) -> tuple[Array, Array]:
            r, z, n = jnp.split(h @ params["state"]["kernel"], 3)
            x_r, x_z, x_n = jnp.split(x, 3)
            r, z = jax.nn.sigmoid(x_r + r), jax.nn.sigmoid(x_z + z)
            n = jnp.tanh(x_n + r * (n + params["state"]["bias"]))
            h = ((1 - z) * n + z * h) * units
            return h, h

        _, states = jax.lax.scan(step, jnp.zeros_like(units), inputs)
        return dense(params["output"], states)

    return language_model(
        name, config, text, lambda key: Recurrent(config.width.draw(key)), init, logits
    )
