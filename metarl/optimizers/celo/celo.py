"""Celo: a per-parameter MLP with a learned step-size schedule, as an optax transformation.

Moudgil et al. 2025, arXiv:2501.12670. The MLP has the inputs of VeLO's per-parameter networks, but
all tensors share its weights. Phase 1 meta-trains the MLP without the schedule; phase 2 freezes it
and meta-trains the schedule. `metarl.optimizers.external.loaders` reads the published weights.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from metarl.core.errors import check_positive
from metarl.core.keys import split_named
from metarl.core.types import Array, Key, PyTree, Theta
from metarl.optimizers.celo.learned_schedule import (
    ScheduleState,
    init_schedule_state,
    schedule_init,
    scheduled_factor,
)
from metarl.optimizers.in_place import TransformationWithApply, with_apply
from metarl.optimizers.lopt.accumulators import init_accumulators
from metarl.optimizers.lopt.loss_features import check_loss, check_num_steps
from metarl.optimizers.lopt.per_parameter import (
    TensorNetwork,
    fold_constants,
    init_layers,
    update_tree,
)
from metarl.optimizers.protocol import InnerOptimizer, Steps, without_parameter_info
from metarl.optimizers.velo.velo_network import (
    CHANNELS,
    EXPONENT,
    NO_NETWORK,
    OUTPUTS,
    STEP_SCALE,
    VELO_FEATURES,
    tensor_scale,
    velo_rates,
)


@dataclass(frozen=True)
class CeloConfig:
    """Architecture; the defaults are those of the published weights.

    Attributes:
      hidden: number of units of the scheduler.
      width: width of the two hidden layers of the MLP.
      scheduled: whether there is a scheduler; False in phase 1 of meta-training, where steps are
        ten times those under a scheduler with zero output.
    """

    hidden: int = 64
    width: int = 4
    scheduled: bool = True

    def __post_init__(self) -> None:
        check_positive(hidden=self.hidden, width=self.width)


class CeloState(NamedTuple):
    """State of the optimizer.

    Attributes:
      moments: accumulators, see `metarl.optimizers.lopt.accumulators`.
      schedule: state of the scheduler, or None.
    """

    moments: PyTree
    schedule: ScheduleState | None


def celo_init(config: CeloConfig, key: Key) -> Theta:
    """Draws the meta-parameters: `network`, an MLP with 30 inputs and 3 outputs, and `schedule`."""
    network, schedule = split_named(key, "network", "schedule")
    theta = {"network": init_layers(network, (CHANNELS, config.width, config.width, OUTPUTS))}
    if config.scheduled:
        theta["schedule"] = schedule_init(config.hidden, schedule)
    return theta


def celo(
    theta: Theta,
    config: CeloConfig | None = None,
    num_steps: Steps | None = None,
    implementation: str | None = None,
) -> TransformationWithApply:
    """Returns the transformation `g -> -0.001 f o_0 exp(0.001 o_1) rms(p)`.

    `o` are the outputs of the MLP on 30 channels, `f` is the scheduled factor, or 1 without a
    scheduler. `update` requires `params` and, with a scheduler, `value`, the loss.

    Args:
      theta: weights, see `celo_init`.
      config: architecture; None = that of the published weights.
      num_steps: number of updates of the training run, at which the progress features saturate;
        required with a scheduler only.
      implementation: kernel implementation; None = the best available one.

    Raises:
      ConfigError: `num_steps` is missing or below 1; or, in `update`, `params` or `value` is
        missing, or the loss is not a scalar; or see `metarl.optimizers.lopt.accumulators`.
    """
    config = CeloConfig() if config is None else config
    steps = check_num_steps("celo", num_steps) if config.scheduled else 1

    def init(params: PyTree) -> CeloState:
        schedule = init_schedule_state(theta["schedule"]) if config.scheduled else None
        return CeloState(init_accumulators(params, VELO_FEATURES), schedule)

    def make(
        in_place: bool,
        grads: PyTree,
        state: CeloState,
        params: PyTree | None,
        *,
        value: Array | None = None,
        **unused: Any,
    ) -> tuple[PyTree, CeloState]:
        del unused
        factor, schedule = jnp.float32(1), state.schedule
        if schedule is not None:
            loss = check_loss("celo", value)
            factor, schedule = scheduled_factor(theta["schedule"], schedule, loss, steps)
        layers = fold_constants(theta["network"], jnp.zeros(0))
        networks = [
            TensorNetwork(layers, STEP_SCALE * factor * tensor_scale(p)) if p.size else NO_NETWORK
            for p in jax.tree.leaves(params)
        ]
        made, moments = update_tree(
            VELO_FEATURES,
            networks,
            grads,
            params,
            state.moments,
            velo_rates(),
            EXPONENT,
            implementation,
            in_place=in_place,
        )
        return made, CeloState(moments, schedule)

    return with_apply(init, make)


def celo_inner(config: CeloConfig | None = None, network: Theta | None = None) -> InnerOptimizer:
    """Returns the `InnerOptimizer` for meta-training.

    Args:
      config: architecture; None = that of the published weights.
      network: frozen MLP of phase 1; theta is then `{"schedule": ...}`.
    """
    config = CeloConfig() if config is None else config
    frozen = {} if network is None else {"network": network}

    def init(config: CeloConfig, key: Key) -> Theta:
        theta = celo_init(config, key)
        return {name: part for name, part in theta.items() if name not in frozen}

    def make(theta: Theta, config: CeloConfig, num_steps: Steps) -> TransformationWithApply:
        return celo({**theta, **frozen}, config, num_steps)

    return without_parameter_info("celo", config, init, make)
