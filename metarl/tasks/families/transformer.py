"""A small pre-LN transformer language model of sampled width.

The number of heads is fixed; the size of a head is sampled. Units beyond it are masked in every
head, in the residual stream, and in the MLP.

Reference: Vaswani et al. 2017, arXiv:1706.03762; Xiong et al. 2020, arXiv:2002.04745.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import jax
import jax.numpy as jnp

from metarl.core.errors import check_positive
from metarl.core.types import Array, Key, PyTree
from metarl.tasks.datasets import Text
from metarl.tasks.families.language import LanguageConfig, language_model
from metarl.tasks.families.layers import dense, dense_layer, kernel, standard_weights, unit_mask
from metarl.tasks.families.span import Span, check_whole
from metarl.tasks.family import TaskFamily

_EXPANSION = 4
"""Hidden units of a block's MLP, in multiples of the model's width."""

_EPS = 1e-6
"""Constant added to a variance before its root."""


@dataclass(frozen=True, kw_only=True)
class TransformerConfig(LanguageConfig):
    """Settings of a family of transformers.

    Attributes:
      heads: number H of attention heads.
      head: units of a head; the width of the model is `heads` times as large.
      layers: number of blocks of attention and MLP.
    """

    heads: int = 2
    head: Span = field(default=Span(16, 16))
    layers: int = 2

    def __post_init__(self) -> None:
        super().__post_init__()
        check_positive(heads=self.heads, layers=self.layers)
        check_whole("head", self.head)


class Heads(NamedTuple):
    """Sampled architecture: units of a head, an int32 scalar."""

    head: Array


def transformer(name: str, config: TransformerConfig, text: Text) -> TaskFamily:
    """Makes the family; learned positions, causal attention, GELU."""
    characters = len(text.characters)
    width = config.heads * int(config.head.high)

    def init(key: Key, network: Heads) -> PyTree:
        units = _units(network, config)
        fan_in = config.heads * network.head
        outer = {
            "embedding": (characters, width),
            "output": (width, characters),
            "positions": (config.length, width),
        }
        blocks = [f"block_{i}" for i in range(config.layers)]
        inner = {
            f"{block} {name}": shape
            for block in blocks
            for name, shape in _block_shapes(width).items()
        }
        drawn = standard_weights(key, outer | inner)
        return {
            block: _init_block(
                {name: drawn[f"{block} {name}"] for name in _block_shapes(width)}, units, fan_in
            )
            for block in blocks
        } | {
            "embedding": {"kernel": kernel(drawn["embedding"], fan_in, None, units)},
            "norm": _norm(units),
            "output": dense_layer(drawn["output"], fan_in, units),
            "positions": {"kernel": kernel(drawn["positions"], fan_in, None, units)},
        }

    def logits(params: PyTree, network: Heads, tokens: Array) -> Array:
        units = _units(network, config)
        x = params["embedding"]["kernel"][tokens] + params["positions"]["kernel"]
        for i in range(config.layers):
            x = _block(params[f"block_{i}"], network, config, units, x)
        return dense(params["output"], _layer_norm(params["norm"], units, x))

    return language_model(
        name, config, text, lambda key: Heads(config.head.draw(key)), init, logits
    )


def _units(network: Heads, config: TransformerConfig) -> Array:
    """Returns the mask of the units of the residual stream, `[width]`."""
    return jnp.tile(unit_mask(network.head, int(config.head.high)), config.heads)


def _norm(units: Array) -> PyTree:
    return {"scale": units, "bias": jnp.zeros_like(units)}


def _block_shapes(width: int) -> dict[str, tuple[int, int]]:
    square = dict.fromkeys(("query", "key", "value", "attended"), (width, width))
    return square | {"up": (width, _EXPANSION * width), "down": (_EXPANSION * width, width)}


def _init_block(drawn: Mapping[str, Array], units: Array, fan_in: Array) -> PyTree:
    between = jnp.tile(units, _EXPANSION)
    return {
        name: dense_layer(drawn[name], fan_in, units, units)
        for name in ("query", "key", "value", "attended")
    } | {
        "down": dense_layer(drawn["down"], _EXPANSION * fan_in, between, units),
        "norm_0": _norm(units),
        "norm_1": _norm(units),
        "up": dense_layer(drawn["up"], fan_in, units, between),
    }


def _layer_norm(norm: PyTree, units: Array, x: Array) -> Array:
    """Applies layer normalization over the unmasked units; `[T, width]`, zero elsewhere."""
    count = jnp.sum(units)
    x = x.astype(jnp.float32)
    mask = units[None]
    mean = jnp.sum(x * mask, axis=-1, keepdims=True) / count
    centered = (x - mean) * mask
    variance = jnp.sum(centered**2, axis=-1, keepdims=True) / count
    normal = (centered * jax.lax.rsqrt(variance + _EPS)).astype(norm["scale"].dtype)
    return (normal * norm["scale"][None] + norm["bias"][None]) * mask.astype(normal.dtype)


def _block(
    block: PyTree, network: Heads, config: TransformerConfig, units: Array, x: Array
) -> Array:
    attended = _attention(block, network, config, _layer_norm(block["norm_0"], units, x))
    # Masked units of the stream are zeroed by the layer norm of every reader.
    x = x + attended
    up = jax.nn.gelu(dense(block["up"], _layer_norm(block["norm_1"], units, x)))
    up = up * jnp.tile(units, _EXPANSION)[None].astype(up.dtype)
    return x + dense(block["down"], up)


def _attention(block: PyTree, network: Heads, config: TransformerConfig, x: Array) -> Array:
    """Applies causal attention, `[T, width]`."""
    steps, width = x.shape
    mask = unit_mask(network.head, int(config.head.high)).astype(x.dtype)[None, None]

    def heads(name: str) -> Array:
        split = dense(block[name], x).reshape(steps, config.heads, -1)
        return split * mask

    query, key, value = heads("query"), heads("key"), heads("value")
    scores = jnp.einsum("thu,shu->hts", query, key).astype(jnp.float32)
    scores = scores / jnp.sqrt(network.head.astype(jnp.float32))
    causal = jnp.tril(jnp.ones((steps, steps), bool))[None]
    weights = jax.nn.softmax(jnp.where(causal, scores, -jnp.inf)).astype(x.dtype)
    mixed = jnp.einsum("hts,shu->thu", weights, value).reshape(steps, width)
    return dense(block["attended"], mixed)
