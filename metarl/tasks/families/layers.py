"""Masked layers, whose sizes are data: units beyond the sampled number stay zero.

A masked layer has the shape of the largest layer and computes the function of the smaller one:
masked units output zero, so their weights have zero gradient, and initial weights are scaled by the
number of unmasked inputs. The difference is visible only to optimizers with per-tensor features.

Networks are functions of one example; families vmap them over a batch.
"""

import math
from collections.abc import Callable, Mapping
from itertools import accumulate

import jax
import jax.numpy as jnp

from metarl.core.errors import ConfigError, check_choice
from metarl.core.types import Array, Key, PyTree

ACTIVATIONS: Mapping[str, Callable[[Array], Array]] = {
    "relu": jax.nn.relu,
    "tanh": jnp.tanh,
    "gelu": jax.nn.gelu,
    "silu": jax.nn.silu,
    "sigmoid": jax.nn.sigmoid,
}
"""Activation functions by name."""

_TRUNCATED_STD = 0.87962566103423978
"""Standard deviation of a standard normal distribution truncated to [-2, 2]."""


def unit_mask(count: Array, size: int) -> Array:
    """Returns a mask `[size]`, float32: ones for the first `count` units, else zeros."""
    return (jnp.arange(size) < count).astype(jnp.float32)


def standard_weights(key: Key, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Array]:
    """Samples tensors of mean 0 and variance 1, normal truncated at two standard deviations.

    All tensors are slices of one sample: every further sampling op costs about a second of compile
    time.

    Args:
      key: PRNG key.
      shapes: shapes of the tensors, by name.
    """
    sizes = [math.prod(shape) for shape in shapes.values()]
    drawn = jax.random.truncated_normal(key, -2.0, 2.0, (sum(sizes),)) / _TRUNCATED_STD
    parts = jnp.split(drawn, list(accumulate(sizes))[:-1])
    return {
        name: part.reshape(shape) for (name, shape), part in zip(shapes.items(), parts, strict=True)
    }


def kernel(
    standard: Array,
    fan_in: Array | int,
    rows: Array | None = None,
    columns: Array | None = None,
) -> Array:
    """Returns initial weights of variance `1 / fan_in`.

    Args:
      standard: weights of variance 1, `[..., inputs, outputs]`.
      fan_in: number of unmasked inputs.
      rows: mask of the inputs, `[inputs]`; None = all ones.
      columns: mask of the outputs, `[outputs]`; None = all ones.
    """
    return mask_weights(standard / jnp.sqrt(jnp.asarray(fan_in, jnp.float32)), rows, columns)


def mask_weights(weights: Array, rows: Array | None = None, columns: Array | None = None) -> Array:
    """Masks weights `[..., inputs, outputs]` by their inputs and outputs."""
    lead = (1,) * (weights.ndim - 2)
    if rows is not None:
        weights = weights * rows.reshape(*lead, -1, 1)
    return weights if columns is None else weights * columns.reshape(*lead, 1, -1)


def dense(layer: PyTree, inputs: Array) -> Array:
    """Returns `inputs @ kernel + bias` in the dtype of the kernel; inputs are `[..., inputs]`."""
    bias = layer["bias"]
    return inputs.astype(layer["kernel"].dtype) @ layer["kernel"] + bias.reshape(
        (1,) * (inputs.ndim - 1) + bias.shape
    )


def dense_layer(
    standard: Array,
    fan_in: Array | int,
    rows: Array | None = None,
    columns: Array | None = None,
) -> PyTree:
    """Returns an initial dense layer: `kernel`, and a `bias` of zeros."""
    return {
        "kernel": kernel(standard, fan_in, rows, columns),
        "bias": jnp.zeros(standard.shape[-1]),
    }


def check_activations(names: tuple[str, ...]) -> None:
    """Raises ConfigError unless `names` has at least one element, all names of activations."""
    if not names:
        raise ConfigError(f"activation is empty. Permitted: {', '.join(ACTIVATIONS)}.")
    for name in names:
        check_choice("activation", name, ACTIVATIONS)


def activate(names: tuple[str, ...], chosen: Array, inputs: Array) -> Array:
    """Applies the activation with index `chosen`, elementwise."""
    if len(names) == 1:
        return ACTIVATIONS[names[0]](inputs)
    return jax.lax.switch(chosen, [ACTIVATIONS[name] for name in names], inputs)


def cross_entropy(logits: Array, target: Array) -> Array:
    """`-log softmax(logits)[target]`; logits `[..., C]`, targets `[...]` integer, float32."""
    log_probability = jax.nn.log_softmax(logits.astype(jnp.float32))
    return -jnp.take_along_axis(log_probability, target[..., None], axis=-1)[..., 0]
