"""VeLO, conditioned on the length of training, as an optax transformation.

Metz et al. 2022, arXiv:2211.09760. For every tensor, an LSTM takes training progress, loss features
and statistics of momenta, and generates the weights of a small network that computes the step of
each parameter of that tensor. There is no learning rate to tune.

VeLO was trained for up to 150 000 updates: for longer training wrap it in `optax.MultiSteps` and
divide `num_steps` by the number of steps between updates. For weight decay (about 1e-6) use
`optax.chain(velo(...), optax.add_decayed_weights(-decay))`: updates are added to the parameters, so
the sign is negative.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from metarl.core.types import Array, PyTree, Theta
from metarl.optimizers.in_place import TransformationWithApply, with_apply
from metarl.optimizers.lopt.accumulators import aligned_leaves, init_accumulators
from metarl.optimizers.lopt.loss_features import (
    SHORTEST,
    LossBuffer,
    check_loss,
    check_num_steps,
    init_loss_buffer,
    loss_features,
    loss_rates,
    observe,
)
from metarl.optimizers.lopt.per_parameter import update_tree
from metarl.optimizers.protocol import InnerOptimizer, Steps, without_parameter_info
from metarl.optimizers.velo.tensor_lstm import LSTMState, init_lstm_state, training_progress
from metarl.optimizers.velo.velo_network import (
    EXPONENT,
    NO_NETWORK,
    VELO_FEATURES,
    VeLOConfig,
    tensor_networks,
    tensor_row,
    tensor_scale,
    velo_init,
    velo_rates,
)

NAME = "velo"
"""Name in errors."""


class VeLOState(NamedTuple):
    """State of the optimizer.

    Attributes:
      iteration: number of updates so far, an int32 scalar.
      moments: accumulators, see `metarl.optimizers.lopt.accumulators`.
      tensors: state of the LSTM, one row per tensor that has elements.
      losses: loss averages, see `metarl.optimizers.lopt.loss_features`.
    """

    iteration: Array
    moments: PyTree
    tensors: LSTMState
    losses: LossBuffer


def velo(
    theta: Theta,
    config: VeLOConfig | None = None,
    num_steps: Steps | None = None,
    implementation: str | None = None,
) -> TransformationWithApply:
    """Returns the transformation `g -> -0.001 f o_0 exp(0.001 o_1) rms(p)`.

    `o` are the outputs of a network of 30 channels, generated for each tensor, as is the factor
    `f`; see `metarl.optimizers.velo.velo_network`. `update` requires `params` and the keyword
    argument `value`, the loss.

    Args:
      theta: weights, see `velo_init`.
      config: architecture; None = the published one for meta-training.
      num_steps: number of updates of the training run, at which the progress features saturate.
      implementation: kernel implementation; None = the best available one.

    Raises:
      ConfigError: `num_steps` is missing or below 1; or, in `update`, `params` or `value` is
        missing, or the loss is not a scalar; or see `metarl.optimizers.lopt.accumulators`.

    Reference: Metz et al. 2022, arXiv:2211.09760; `tensor_row` follows its code.
    """
    config = VeLOConfig() if config is None else config
    steps = check_num_steps(NAME, num_steps)
    rates = loss_rates(int(SHORTEST) if config.bugged_loss_features else steps)

    def init(params: PyTree) -> VeLOState:
        moments = init_accumulators(params, VELO_FEATURES)
        rows = sum(jnp.size(leaf) > 0 for leaf in jax.tree.leaves(params))
        recurrent = init_lstm_state(theta["tensors"]["lstm"], rows)
        return VeLOState(jnp.zeros((), jnp.int32), moments, recurrent, init_loss_buffer())

    def make(
        in_place: bool,
        grads: PyTree,
        state: VeLOState,
        params: PyTree | None,
        *,
        value: Array | None = None,
        **unused: Any,
    ) -> tuple[PyTree, VeLOState]:
        del unused
        losses = observe(state.losses, check_loss(NAME, value), rates)
        _, leaves, moments = aligned_leaves(grads, params, state.moments)
        inputs = training_progress(state.iteration, steps), loss_features(losses, rates)
        nonempty = [(p, m) for p, m in zip(leaves, moments, strict=True) if m is not None]
        networks, recurrent = tensor_networks(
            theta,
            config,
            [tensor_row(p, m, *inputs, config) for p, m in nonempty],
            [tensor_scale(p) for p, _ in nonempty],
            state.tensors,
        )
        own = iter(networks)
        made, new = update_tree(
            VELO_FEATURES,
            [NO_NETWORK if m is None else next(own) for m in moments],
            grads,
            params,
            state.moments,
            velo_rates(),
            EXPONENT,
            implementation,
            in_place=in_place,
        )
        if config.bugged_lstm_state:
            recurrent = state.tensors
        return made, VeLOState(optax.safe_increment(state.iteration), new, recurrent, losses)

    return with_apply(init, make)


def velo_inner(config: VeLOConfig | None = None) -> InnerOptimizer:
    """Returns the `InnerOptimizer` for meta-training."""
    config = VeLOConfig() if config is None else config
    return without_parameter_info(NAME, config, velo_init, velo)
