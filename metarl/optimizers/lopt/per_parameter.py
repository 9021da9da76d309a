"""Shared parts of architectures that apply one small network to every parameter."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

import jax
import jax.numpy as jnp

from metarl.core.keys import named
from metarl.core.types import Array, Key, PyTree, Theta
from metarl.kernels.lopt_update import (
    Call,
    FeatureSet,
    Grouping,
    Moments,
    Rates,
    lopt_apply_many,
    lopt_update_many,
)
from metarl.optimizers.lopt.accumulators import aligned_leaves

TIMESCALES = (1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1e3, 3e3, 1e4, 3e4, 1e5)
"""Timescales T, in updates, at which the time features `tanh(t / T - 1)` cross zero."""


class TensorNetwork(NamedTuple):
    """Network of one tensor.

    Attributes:
      layers: kernel `[in, out]` and bias `[out]` of each layer.
      scale: factor of the steps, a scalar.
    """

    layers: Sequence[tuple[Array, Array]]
    scale: Array | float


class PerParameterState(NamedTuple):
    """State of an optimizer.

    Attributes:
      iteration: number of updates so far, an int32 scalar that saturates.
      moments: tree of the parameters with `Moments` for tensors, see `init_accumulators`.
    """

    iteration: Array
    moments: PyTree


def init_layers(key: Key, sizes: Sequence[int]) -> Theta:
    """Draws an MLP, `{"layer_0": {"kernel": [in, out], "bias": [out]}, ...}`.

    Kernels are truncated normal (two standard deviations) with scale `in^-1/2`; biases are zero.
    """
    theta = {}
    for i, (inputs, outputs) in enumerate(pairwise(sizes)):
        noise = jax.random.truncated_normal(
            named(key, f"layer_{i}"), -2.0, 2.0, (inputs, outputs), jnp.float32
        )
        theta[f"layer_{i}"] = {"kernel": noise * inputs**-0.5, "bias": jnp.zeros(outputs)}
    return theta


def fold_constants(theta: Mapping[str, Theta], constants: Array) -> list[tuple[Array, Array]]:
    """Folds the last inputs of an MLP, equal for all parameters, into its first bias.

    Args:
      theta: weights from `init_layers`.
      constants: values of the last `C` inputs, `[C]`.

    Returns:
      Kernel and bias of each layer; the first kernel lacks its last `C` rows.
    """
    layers = [theta[f"layer_{i}"] for i in range(len(theta))]
    pairs = [(jnp.asarray(x["kernel"]), jnp.asarray(x["bias"])) for x in layers]
    kernel, bias = pairs[0]
    varying = kernel.shape[0] - constants.shape[0]
    pairs[0] = (kernel[:varying], bias + constants @ kernel[varying:])
    return pairs


def time_features(iteration: Array) -> Array:
    """Returns `tanh(t / T - 1)` for the 11 timescales T, after `t` updates."""
    return jnp.tanh(iteration.astype(jnp.float32) / jnp.asarray(TIMESCALES, jnp.float32) - 1.0)


def update_tree(
    features: FeatureSet,
    networks: Sequence[TensorNetwork],
    updates: PyTree,
    params: PyTree | None,
    moments: PyTree,
    rates: Rates,
    exponent: float,
    implementation: str | None = None,
    grouping: Grouping | None = None,
    in_place: bool = False,
) -> tuple[PyTree, PyTree]:
    """Computes the update of every tensor: minus its step, in the parameter's dtype.

    Small tensors are batched into shared kernel calls, see `metarl.kernels.lopt_update.Grouping`.

    Args:
      features: inputs of the networks.
      networks: networks in the order of the leaves; identical array objects where shared.
      updates: gradients.
      params: parameters.
      moments: accumulators, see `init_accumulators`.
      rates: rates of the moments.
      exponent: factor of a network's second output inside the exponential.
      implementation: kernel implementation; see `metarl.kernels.lopt_update.lopt_update`.
      grouping: thresholds for batching; None = the defaults.
      in_place: whether to return new parameters instead, which kernels write in place.

    Returns:
      Updates to be added to the parameters, or with `in_place` the new parameters
      `parameter - step`, computed in float32 and rounded once; and the new moments.

    Raises:
      ConfigError: see `metarl.optimizers.lopt.accumulators.aligned_leaves`.
    """
    gradients, leaves, old = aligned_leaves(updates, params, moments, made_finite=False)
    calls = [
        Call(network.layers, network.scale, p, g, m)
        for g, p, m, network in zip(gradients, leaves, old, networks, strict=True)
        if m is not None
    ]
    many = lopt_apply_many if in_place else lopt_update_many
    made = iter(many(features, calls, rates, exponent, implementation, grouping))
    results: list[Array] = []
    new: list[Moments | None] = []
    for p, m in zip(leaves, old, strict=True):
        result, m = (jnp.zeros_like(p), None) if m is None else next(made)
        results.append(result if in_place else -result.astype(p.dtype))
        new.append(m)
    treedef = jax.tree.structure(params)
    return jax.tree.unflatten(treedef, results), jax.tree.unflatten(treedef, new)
