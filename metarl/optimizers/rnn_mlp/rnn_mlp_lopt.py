"""RNN-MLP: a recurrent network for every tensor, which talks with the network of its parameters.

Metz et al. 2020, arXiv:2009.11243, in the form of Google's later public code. Unlike VeLO it does
not know how long training is, and unlike `mlp_lopt` it knows the loss, and tensors know of each
other. It has momenta and mean squares with five decays each, and no factored ones.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import optax

from metarl.core.numerics import finite_or
from metarl.core.types import Array, Key, PyTree, Theta
from metarl.kernels.lopt_update import Moments, update_moments
from metarl.optimizers.lopt.accumulators import init_accumulators, tensors
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
from metarl.optimizers.velo.tensor_lstm import LSTMState, linear, lstm, start

LOSS_DECAY = 0.9
"""Of the mean and variance of the loss."""

CLIP_DECAY = 0.99
"""Of the mean size of gradients."""

CLIP_FACTOR = 10.0
"""How many times that mean a gradient may be."""

_TINY = 1e-8


class LossMoments(NamedTuple):
    """Mean and variance of the loss so far, started at zero, and how many losses were seen."""

    mean: Array
    variance: Array
    observed: Array


class RNNMLPState(NamedTuple):
    """Memory of the optimizer; N tensors have elements.

    Attributes:
      iteration: updates made, an int32 scalar.
      moments: see `metarl.optimizers.lopt.accumulators`.
      lstm: of the recurrent network, a row a tensor.
      from_tensors: what recurrent networks told each other, a vector.
      from_network: what per-parameter networks told, `[N, ...]`.
      loss: of the loss.
      size: running mean of the root mean square of gradients, a scalar started at 0.01.
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
    """Makes the transformation `g -> -0.001 o_0 exp(0.001 o_1)`.

    `o` are the outputs of the per-parameter network, see `metarl.optimizers.rnn_mlp.rnn_mlp_network`.
    Gradients are first clipped elementwise to ten times their running size. `update` needs `params`
    and `value`, the loss. The feature of a validation loss is that of a loss of zero, as in the
    public code when none is measured.

    Args:
      theta: weights, see `rnn_mlp_init`.
      config: architecture; theta says it all.
      num_steps: not used; any number of updates can be made.

    Raises:
      ConfigError: in `update`, `params` or `value` is missing, or the loss is no scalar; or as
        `metarl.optimizers.lopt.accumulators` says.

    Reference: Metz et al. 2020, arXiv:2009.11243, section 3.
    """
    del config, num_steps

    def init(params: PyTree) -> RNNMLPState:
        count = sum(jnp.size(leaf) > 0 for leaf in jax.tree.leaves(params))
        return RNNMLPState(
            jnp.zeros((), jnp.int32),
            init_accumulators(params, RNN_MLP_FEATURES),
            start(theta["lstm"], count),
            jnp.asarray(theta["from_tensors"]),
            jnp.tile(theta["from_network"][None], (count, 1)),
            LossMoments(jnp.zeros(()), jnp.zeros(()), jnp.zeros((), jnp.int32)),
            jnp.float32(1.0 - CLIP_DECAY),
        )

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
        gradients, leaves, old = tensors(updates, params, state.moments)
        present = [i for i, m in enumerate(old) if m is not None]
        iteration = optax.safe_increment(state.iteration)
        if not present:
            return jax.tree.map(jnp.zeros_like, updates), state._replace(iteration=iteration)
        size, clipped = _clipped([gradients[i] for i in present], state.size, state.iteration)
        seen, losses = _observed(state.loss, loss)
        known = []
        for i, g in zip(present, clipped, strict=True):
            moments = update_moments(cast(Moments, old[i]), g, rnn_mlp_rates())
            known.append(_Tensor(jnp.asarray(leaves[i], jnp.float32), g, moments))
        rows = [
            tensor_features(*tensor, state.from_tensors, told, losses)
            for tensor, told in zip(known, state.from_network, strict=True)
        ]
        recurrent = lstm(theta["lstm"], jnp.stack(rows), state.lstm)
        made = [
            apply_network(theta, *tensor, state.iteration, len(known), told)
            for tensor, told in zip(
                known, linear(theta["to_network"], recurrent.hidden), strict=True
            )
        ]
        steps, new = [jnp.zeros_like(leaf) for leaf in leaves], list(old)
        for i, tensor, (step, _) in zip(present, known, made, strict=True):
            steps[i], new[i] = -step.astype(steps[i].dtype), tensor.moments
        treedef = jax.tree.structure(params)
        return jax.tree.unflatten(treedef, steps), RNNMLPState(
            iteration,
            jax.tree.unflatten(treedef, new),
            recurrent,
            jnp.mean(linear(theta["to_tensors"], recurrent.hidden), axis=0),
            jnp.stack([message for _, message in made]),
            seen,
            size,
        )

    return optax.GradientTransformationExtraArgs(init, update)


def rnn_mlp_lopt_inner(config: RNNMLPConfig | None = None) -> InnerOptimizer:
    """Makes the optimizer for a learner, to be meta-trained."""
    config = RNNMLPConfig() if config is None else config

    def init(key: Key) -> Theta:
        return rnn_mlp_init(config, key)

    return without_parameter_info(
        "rnn_mlp_lopt", init, lambda theta, num_steps: rnn_mlp_lopt(theta, config, num_steps)
    )


def _clipped(
    gradients: Sequence[Array], size: Array, iteration: Array
) -> tuple[Array, list[Array]]:
    """Clips gradients to ten times the size of those before; the first to ten.

    Returns:
      The running size with these gradients in it, and the gradients.
    """
    limit = CLIP_FACTOR * size / (1.0 - CLIP_DECAY ** (iteration + 1))
    clipped = [jnp.clip(g, -limit, limit) for g in gradients]
    square = sum(jnp.mean(g * g) for g in clipped) / len(clipped)
    return CLIP_DECAY * size + (1.0 - CLIP_DECAY) * jnp.sqrt(_TINY + square), clipped


def _observed(moments: LossMoments, loss: Array) -> tuple[LossMoments, tuple[Array, Array]]:
    """Adds a loss; one that is not finite changes nothing and is told as the mean.

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
    centre, inverse = new.mean / share, jax.lax.rsqrt(new.variance / share + _TINY)
    told = finite_or(loss, centre)
    features = [jnp.clip((x - centre) * inverse, -5.0, 5.0) for x in (told, jnp.float32(0))]
    return new, (features[0], features[1])
