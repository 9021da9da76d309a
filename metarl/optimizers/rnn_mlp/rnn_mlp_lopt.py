"""RNN-MLP: an LSTM for every tensor, which exchanges messages with a per-parameter MLP.

Metz et al. 2020, arXiv:2009.11243, as in Google's later public code. Unlike VeLO it has no input
for the length of training; unlike `mlp_lopt` it takes the loss, and tensors exchange messages. It
has momenta and mean squares with five decays each, and no factored mean squares.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import optax

from metarl.core.numerics import finite_or
from metarl.core.types import Array, PyTree, Theta
from metarl.kernels.lopt_update import Moments, update_moments
from metarl.optimizers.lopt.accumulators import aligned_leaves, init_accumulators
from metarl.optimizers.lopt.loss_features import check_loss
from metarl.optimizers.protocol import InnerOptimizer, Steps, without_parameter_info
from metarl.optimizers.rnn_mlp.rnn_mlp_network import (
    RNN_MLP_FEATURES,
    RNNMLPConfig,
    apply_network,
    rnn_mlp_init,
    rnn_mlp_rates,
    tensor_features,
)
from metarl.optimizers.velo.tensor_lstm import LSTMState, init_lstm_state, linear, lstm

LOSS_DECAY = 0.9
"""Decay of the mean and variance of the loss."""

CLIP_DECAY = 0.99
"""Decay of the mean root mean square of gradients."""

CLIP_FACTOR = 10.0
"""Clipping bound of gradients, as a multiple of that mean."""

_TINY = 1e-8


class LossMoments(NamedTuple):
    """Moving mean and variance of the loss, initialized at zero, and number of losses."""

    mean: Array
    variance: Array
    observed: Array


class RNNMLPState(NamedTuple):
    """State of the optimizer; N is the number of tensors that have elements.

    Attributes:
      iteration: number of updates so far, an int32 scalar.
      moments: accumulators, see `metarl.optimizers.lopt.accumulators`.
      lstm: state of the LSTM, one row per tensor.
      from_tensors: message of all LSTMs to all LSTMs, a vector.
      from_network: messages of the per-parameter networks to their LSTMs, `[N, ...]`.
      loss: moments of the loss.
      size: moving mean of the root mean square of gradients, a scalar initialized at 0.01.
    """

    iteration: Array
    moments: PyTree
    lstm: LSTMState
    from_tensors: Array
    from_network: Array
    loss: LossMoments
    size: Array


class _Tensor(NamedTuple):
    parameter: Array
    gradient: Array
    moments: Moments


def rnn_mlp_lopt(
    theta: Theta,
    config: RNNMLPConfig | None = None,
    num_steps: Steps | None = None,
) -> optax.GradientTransformationExtraArgs:
    """Returns the transformation `g -> -0.001 o_0 exp(0.001 o_1)`.

    `o` are the outputs of the per-parameter network, see
    `metarl.optimizers.rnn_mlp.rnn_mlp_network`. Gradients are first clipped elementwise to ten
    times their mean root mean square. `update` requires `params` and `value`, the loss. The feature
    of the validation loss is that of a loss of zero, as in the public code without validation.

    Args:
      theta: weights, see `rnn_mlp_init`.
      config: unused; the shapes of theta determine the architecture.
      num_steps: unused.

    Raises:
      ConfigError: in `update`, `params` or `value` is missing, or the loss is not a scalar; or see
        `metarl.optimizers.lopt.accumulators`.

    Reference: Metz et al. 2020, arXiv:2009.11243, section 3.
    """
    del config, num_steps

    def update(
        updates: PyTree,
        state: RNNMLPState,
        params: PyTree | None = None,
        *,
        value: Array | None = None,
        **unused: Any,
    ) -> tuple[PyTree, RNNMLPState]:
        del unused
        loss = check_loss("rnn_mlp_lopt", value)
        gradients, leaves, old = aligned_leaves(updates, params, state.moments)
        present = [i for i, m in enumerate(old) if m is not None]
        iteration = optax.safe_increment(state.iteration)
        if not present:
            return jax.tree.map(jnp.zeros_like, updates), state._replace(iteration=iteration)
        size, clipped = _clipped([gradients[i] for i in present], state.size, state.iteration)
        loss_moments, losses = _observed(state.loss, loss)
        nonempty = []
        for i, g in zip(present, clipped, strict=True):
            moments = update_moments(cast(Moments, old[i]), g, rnn_mlp_rates())
            nonempty.append(_Tensor(jnp.asarray(leaves[i], jnp.float32), g, moments))
        rows = [
            tensor_features(*tensor, state.from_tensors, message, losses)
            for tensor, message in zip(nonempty, state.from_network, strict=True)
        ]
        recurrent = lstm(theta["lstm"], jnp.stack(rows), state.lstm)
        messages = linear(theta["to_network"], recurrent.hidden)
        made = [
            apply_network(theta, *tensor, state.iteration, len(nonempty), message)
            for tensor, message in zip(nonempty, messages, strict=True)
        ]
        steps, new = [jnp.zeros_like(leaf) for leaf in leaves], list(old)
        for i, tensor, (step, _) in zip(present, nonempty, made, strict=True):
            steps[i], new[i] = -step.astype(steps[i].dtype), tensor.moments
        treedef = jax.tree.structure(params)
        return jax.tree.unflatten(treedef, steps), RNNMLPState(
            iteration,
            jax.tree.unflatten(treedef, new),
            recurrent,
            jnp.mean(linear(theta["to_tensors"], recurrent.hidden), axis=0),
            jnp.stack([message for _, message in made]),
            loss_moments,
            size,
        )

    return optax.GradientTransformationExtraArgs(partial(_init_state, theta), update)


def rnn_mlp_lopt_inner(config: RNNMLPConfig | None = None) -> InnerOptimizer:
    """Returns the `InnerOptimizer` for meta-training."""
    config = RNNMLPConfig() if config is None else config
    return without_parameter_info("rnn_mlp_lopt", config, rnn_mlp_init, rnn_mlp_lopt)


def _init_state(theta: Theta, params: PyTree) -> RNNMLPState:
    count = sum(jnp.size(leaf) > 0 for leaf in jax.tree.leaves(params))
    return RNNMLPState(
        jnp.zeros((), jnp.int32),
        init_accumulators(params, RNN_MLP_FEATURES),
        init_lstm_state(theta["lstm"], count),
        jnp.asarray(theta["from_tensors"]),
        jnp.tile(theta["from_network"][None], (count, 1)),
        LossMoments(jnp.zeros(()), jnp.zeros(()), jnp.zeros((), jnp.int32)),
        jnp.float32(1.0 - CLIP_DECAY),
    )


def _clipped(
    gradients: Sequence[Array], size: Array, iteration: Array
) -> tuple[Array, list[Array]]:
    """Clips gradients to ten times the mean size of previous ones; the first to ten.

    Returns:
      The updated mean size, and the clipped gradients.
    """
    limit = CLIP_FACTOR * size / (1.0 - CLIP_DECAY ** (iteration + 1))
    clipped = [jnp.clip(g, -limit, limit) for g in gradients]
    square = sum(jnp.mean(g * g) for g in clipped) / len(clipped)
    return CLIP_DECAY * size + (1.0 - CLIP_DECAY) * jnp.sqrt(_TINY + square), clipped


def _observed(moments: LossMoments, loss: Array) -> tuple[LossMoments, tuple[Array, Array]]:
    """Adds a loss; a non-finite loss changes nothing and its feature is that of the mean.

    Returns:
      The new moments, and `clip((loss - mean) / deviation, -5, 5)` for this loss and for zero.
    """
    finite = jnp.isfinite(loss)
    mean = LOSS_DECAY * moments.mean + (1.0 - LOSS_DECAY) * loss
    variance = LOSS_DECAY * moments.variance + (1.0 - LOSS_DECAY) * (mean - loss) ** 2
    new = LossMoments(
        jnp.where(finite, mean, moments.mean),
        jnp.where(finite, variance, moments.variance),
        moments.observed + finite,
    )
    share = 1.0 - LOSS_DECAY ** jnp.maximum(new.observed, 1) + _TINY
    center, inverse = new.mean / share, jax.lax.rsqrt(new.variance / share + _TINY)
    finite_loss = finite_or(loss, center)
    features = [jnp.clip((x - center) * inverse, -5.0, 5.0) for x in (finite_loss, jnp.float32(0))]
    return new, (features[0], features[1])
