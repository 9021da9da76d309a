"""OPEN, an optimizer meta-learned for reinforcement learning, as an optax transformation.

Goldie et al. 2024, arXiv:2407.07082. A recurrent network takes, for every parameter, its value,
gradient and momenta, the progress of training and of the epochs on the current batch, the depth of
its layer, and the activity (dormancy) of its unit. It returns a step and noise for exploration.
Metadata of tensors are arguments (`metarl.optimizers.parameters`), so this module does not depend
on reinforcement learning.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from metarl.core.errors import ConfigError
from metarl.core.types import Array, Key, PyTree, Theta
from metarl.optimizers.open.open_network import OpenNetworkConfig, open_init, open_network
from metarl.optimizers.parameters import ParameterInfo, clip_by_network_norm, describe
from metarl.optimizers.protocol import Activity, InnerOptimizer, Steps

BETAS = (0.1, 0.5, 0.9, 0.99, 0.999, 0.9999)
"""Decays of the momenta, without bias correction."""

STEP_SCALE = 1e-3
"""Factor of all three outputs of the network, including the one inside the exponential."""

MAX_GRAD_NORM = 0.5
"""Global norm to which the authors clip the gradients of actor and critic separately."""

_LOG_EPS = 1e-13
_RMS_EPS = 1e-5
_ACTIVITY_EPS = 1e-11


class OpenState(NamedTuple):
    """State of the optimizer; columns are the parameters of all tensors, in order, row-major.

    Attributes:
      momenta: running means of the gradient `[6, n]`, float32.
      carry: recurrent states of the network, `[H, n]`, float32.
    """

    momenta: Array
    carry: Array


def open_optimizer(
    theta: Theta, info: Sequence[ParameterInfo] | None = None
) -> optax.GradientTransformationExtraArgs:
    """Returns the transformation `g -> -(u - mean(u))`, the mean over all parameters.

    `u = s o_0 exp(s o_1) + mask s o_2 N(0, 1)` with `s = 0.001` and `o` the network's outputs.
    `update` requires `params` and the keyword arguments `progress`, `epoch_progress`, `key` if some
    tensor is noisy, and `activity` if the units of some tensor are measured; see `UpdateContext`.
    `optax.chain` passes them on.

    Args:
      theta: weights of the network, see `OpenNetworkConfig.shapes`.
      info: metadata of each tensor, in the order of the leaves; None = `describe(params)`: one
        network, modules in the order of the tree, no noise, all units equally active.

    Raises:
      ConfigError: in `update`, an argument is missing, or `info` does not match the parameters.

    Reference: Goldie et al. 2024, arXiv:2407.07082, section 5.
    """

    def init(params: PyTree) -> OpenState:
        n = sum(leaf.size for leaf in jax.tree.leaves(params))
        recurrent = theta["hn_bias"].shape[-1]
        return OpenState(
            jnp.zeros((len(BETAS), n), jnp.float32), jnp.zeros((recurrent, n), jnp.float32)
        )

    def update(
        updates: PyTree,
        state: OpenState,
        params: PyTree | None = None,
        *,
        progress: Array | None = None,
        epoch_progress: Array | None = None,
        key: Key | None = None,
        activity: Activity | None = None,
        **unused: Any,
    ) -> tuple[PyTree, OpenState]:
        del unused
        given = {"params": params, "progress": progress, "epoch_progress": epoch_progress}
        described = describe(params) if info is None else tuple(info)
        _check(given, described, params, key, activity)
        gradient, betas = _flat(updates), jnp.asarray(BETAS, jnp.float32)[:, None]
        momenta = betas * state.momenta + (1.0 - betas) * gradient[None]
        leaves = jax.tree.leaves(params)
        features = jnp.concatenate(
            [
                _value_features(_flat(params), momenta, gradient, [leaf.size for leaf in leaves]),
                _context_features(leaves, described, progress, epoch_progress, activity),
            ]
        )
        outputs, carry = open_network(theta, state.carry, features)
        step = STEP_SCALE * outputs[0] * jnp.exp(STEP_SCALE * outputs[1])
        if key is not None:
            step += STEP_SCALE * outputs[2] * _noise(key, leaves, described)
        return _unflat(jnp.mean(step) - step, params), OpenState(momenta, carry)

    return optax.GradientTransformationExtraArgs(init, update)


def open_inner_optimizer(
    config: OpenNetworkConfig | None = None,
    theta: Theta | None = None,
    name: str = "open",
    max_grad_norm: float | None = MAX_GRAD_NORM,
) -> InnerOptimizer:
    """Returns OPEN as an `InnerOptimizer`, after clipping of each network's gradient.

    Args:
      config: architecture; None = the smaller published one.
      theta: initial weights; None = `open_init`.
      name: display name.
      max_grad_norm: maximum global norm of the gradient of each network; None = no clipping.
    """
    config = OpenNetworkConfig() if config is None else config

    def init(key: Key) -> Theta:
        return open_init(config, key) if theta is None else jax.tree.map(jnp.asarray, theta)

    def transformation(
        theta: Theta, info: tuple[ParameterInfo, ...], num_steps: Steps
    ) -> optax.GradientTransformationExtraArgs:
        del num_steps  # `progress` replaces it
        tx = open_optimizer(theta, info)
        if max_grad_norm is None:
            return tx
        return optax.chain(clip_by_network_norm(max_grad_norm, info), tx)

    return InnerOptimizer(name, init, transformation, needs_activity=True)


def _check(
    given: Mapping[str, Any],
    info: Sequence[ParameterInfo],
    params: PyTree,
    key: Key | None,
    activity: Activity | None,
) -> None:
    missing = [name for name, value in given.items() if value is None]
    missing += ["key"] if key is None and any(leaf.noisy for leaf in info) else []
    units = dict.fromkeys(leaf.units for leaf in info if leaf.units is not None)
    missing += ["activity"] if activity is None and units else []
    if missing:
        raise ConfigError(
            f"update of the OPEN optimizer lacks the arguments {', '.join(missing)}; "
            "see metarl.optimizers.UpdateContext."
        )
    unmeasured = [name for name in units if name not in (activity or {})]
    if unmeasured:
        raise ConfigError(
            f"activity lacks {', '.join(map(repr, unmeasured))}; "
            f"it has {', '.join(activity or ()) or 'nothing'}."
        )
    leaves = len(jax.tree.leaves(params))
    if len(info) != leaves:
        raise ConfigError(f"info describes {len(info)} tensors, params has {leaves}.")


def _value_features(params: Array, momenta: Array, gradient: Array, sizes: Sequence[int]) -> Array:
    """Features of parameter, momenta and gradient, `[15, n]`, normalized by RMS per tensor."""
    parts = (momenta, gradient[None])
    columns = [params[None]]
    for part in parts:
        columns += [jnp.sign(part), jnp.log(jnp.abs(part) + _LOG_EPS)]
    raw = jnp.concatenate(columns)
    tensors, start = [], 0
    for size in sizes:
        tensor = raw[:, start : start + size]
        square = jnp.mean(tensor**2, axis=1, keepdims=True)
        tensors.append(tensor * jax.lax.rsqrt(square + _RMS_EPS))
        start += size
    return jnp.concatenate(tensors, axis=1)


def _context_features(
    leaves: Sequence[Array],
    info: Sequence[ParameterInfo],
    progress: Any,
    epoch_progress: Any,
    activity: Activity | None,
) -> Array:
    """Features of the context, `[4, n]`: progress, layer, epoch, dormancy."""
    tensors = []
    for leaf, about in zip(leaves, info, strict=True):
        values = [progress, about.layer, epoch_progress]
        rows = [jnp.full(leaf.shape, value, jnp.float32) for value in values]
        rows.append(jnp.broadcast_to(_dormancy(about, leaf.shape, activity), leaf.shape))
        tensors.append(jnp.stack(rows).reshape(len(rows), leaf.size))
    return jnp.concatenate(tensors, axis=1)


def _dormancy(about: ParameterInfo, shape: tuple[int, ...], activity: Activity | None) -> Array:
    """Returns the activity of each unit over its layer's mean, `[1, .., 1, units]`; else 1."""
    if about.units is None or activity is None:
        return jnp.float32(1)
    active = jnp.asarray(activity[about.units], jnp.float32) + _ACTIVITY_EPS
    if active.shape != shape[-1:]:
        raise ConfigError(
            f"activity of {about.units!r} has shape {active.shape}, its tensor {shape}: the last "
            "axis must count the units."
        )
    return (active / jnp.mean(active)).reshape((1,) * (len(shape) - 1) + active.shape)


def _noise(key: Key, leaves: Sequence[Array], info: Sequence[ParameterInfo]) -> Array:
    """Draws standard normal noise `[n]` for noisy tensors, zero elsewhere."""
    keys = jax.random.split(key, len(leaves))
    return jnp.concatenate(
        [
            jax.random.normal(k, (leaf.size,)) if about.noisy else jnp.zeros(leaf.size)
            for k, leaf, about in zip(keys, leaves, info, strict=True)
        ]
    )


def _flat(tree: PyTree) -> Array:
    return jnp.concatenate([jnp.ravel(leaf).astype(jnp.float32) for leaf in jax.tree.leaves(tree)])


def _unflat(vector: Array, like: PyTree) -> PyTree:
    leaves, treedef = jax.tree.flatten(like)
    parts, start = [], 0
    for leaf in leaves:
        part = vector[start : start + leaf.size]
        parts.append(part.reshape(leaf.shape).astype(leaf.dtype))
        start += leaf.size
    return jax.tree.unflatten(treedef, parts)
