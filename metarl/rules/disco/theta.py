"""The meta-parameters: names, shapes and initialization, and the names in the published file.

`theta` is `{part: {layer: {"w": [in, out], "b": [out]}}}`. The part `trajectory` maps a rollout to
targets; the part `lifetime` maps the same rollout to a step of the lifetime LSTM.
"""

import math
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from metarl.core.keys import named
from metarl.core.types import Key, Theta
from metarl.rules.disco.config import DiscoConfig

PARTS = ("trajectory", "lifetime")
"""The two parts, in the order in which their embeddings are stacked."""

BASE_INPUTS = 23
"""Number of features of a step that are not action embeddings."""

ACTION_INPUTS = 9
"""Number of features of every action of a step."""

Shapes = dict[str, dict[str, tuple[int, int]]]

_OUTPUT_STD = 0.3  # of the layers that make targets, as in the published meta-training
_GATE_STD = 1.0
_STDS = {
    "gate": _GATE_STD,
    "summary": _OUTPUT_STD,
    "y_hat": _OUTPUT_STD,
    "z_hat": _OUTPUT_STD,
    "pi_hat": _OUTPUT_STD,
}

_EMBEDDERS = {
    "y_hidden": "mlp/~/linear_0",
    "y_out": "mlp/~/linear_1",
    "z_hidden": "mlp_1/~/linear_0",
    "z_out": "mlp_1/~/linear_1",
    "action_hidden": "sequential/conv1_d",
    "action_out": "sequential/conv1_d_1",
    "lstm": "lstm/linear",
}
_OWN = {
    "trajectory": {
        "gate": "linear",
        "summary": "linear_1",
        "y_hat": "linear_2",
        "z_hat": "linear_3",
        "pi_hidden": "sequential_1/conv1_d",
        "pi_hat": "linear_4",
    },
    "lifetime": {"inputs": "mlp_2/~/linear_0"},
}
_PREFIXES = {"trajectory": "lstm", "lifetime": "lstm/~/meta_lstm/~unroll"}


def layer_shapes(config: DiscoConfig) -> Shapes:
    """Returns the weight shape `(in, out)` of every layer; biases are `(out,)`."""
    hidden, out = config.action_channels
    inputs = BASE_INPUTS + 2 * out
    embedders = {
        "y_hidden": (config.prediction_size, config.embedding),
        "y_out": (config.embedding, 1),
        "z_hidden": (config.prediction_size, config.embedding),
        "z_out": (config.embedding, 1),
        # The input of every action is its own features and the mean over actions.
        "action_hidden": (2 * ACTION_INPUTS, hidden),
        "action_out": (2 * hidden, out),
    }
    trajectory = {
        "lstm": (inputs + config.width, 4 * config.width),
        "gate": (config.lifetime_width, config.width),
        "summary": (config.width, 1),
        "y_hat": (config.width, config.prediction_size),
        "z_hat": (config.width, config.prediction_size),
        "pi_hidden": (2 * (config.width + out), config.policy_channels),
        "pi_hat": (config.policy_channels, 1),
    }
    lifetime = {
        "inputs": (inputs + 2, config.embedding),
        "lstm": (config.embedding + config.lifetime_width, 4 * config.lifetime_width),
    }
    return {"trajectory": {**embedders, **trajectory}, "lifetime": {**embedders, **lifetime}}


def init_theta(config: DiscoConfig, key: Key) -> Theta:
    """Samples meta-parameters: truncated normal weights, zero biases."""
    theta: Theta = {}
    for part, layers in layer_shapes(config).items():
        theta[part] = {}
        for layer, shape in layers.items():
            std = _STDS.get(layer, 1.0 / math.sqrt(shape[0]))
            weights = jax.random.truncated_normal(named(key, f"{part}/{layer}"), -2.0, 2.0, shape)
            theta[part][layer] = {"w": std * weights, "b": jnp.zeros(shape[1])}
    return theta


def published_shapes(config: DiscoConfig) -> dict[str, tuple[int, ...]]:
    """Returns name and shape of every array of the published file, for this architecture."""
    shapes: dict[str, tuple[int, ...]] = {}
    for part, layers in layer_shapes(config).items():
        for layer, shape in layers.items():
            name = _published_name(part, layer)
            shapes[f"{name}/w"] = (1, *shape) if _is_convolution(name) else shape
            shapes[f"{name}/b"] = shape[1:]
    return shapes


def from_published(config: DiscoConfig, arrays: Mapping[str, Any]) -> Theta:
    """Converts arrays with published names and `published_shapes` to theta."""
    theta: Theta = {}
    for part, layers in layer_shapes(config).items():
        theta[part] = {}
        for layer, shape in layers.items():
            name = _published_name(part, layer)
            weights = arrays[f"{name}/w"].reshape(shape)
            theta[part][layer] = {"w": weights, "b": arrays[f"{name}/b"]}
    return theta


def _published_name(part: str, layer: str) -> str:
    layers = {**_EMBEDDERS, **_OWN[part]}
    return f"{_PREFIXES[part]}/{layers[layer]}"


def _is_convolution(name: str) -> bool:
    """Whether the layer was published as a convolution of kernel size 1, with an axis for it."""
    return name.rsplit("/", 1)[-1].startswith("conv1_d")
