"""Celo: a learned rule for every parameter, and a learned schedule, as an optax transformation.

Moudgil et al. 2025, arXiv:2501.12670. The rule sees what VeLO's networks see, but its weights are
the same for all tensors; it is meta-trained first, without the schedule, and then held while the
schedule is learned. `metarl.optimizers.external.loaders` reads the weights that the authors released.
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
    schedule_init,
    scheduled_factor,
    start_schedule,
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
    """Architecture; the defaults are those of the released weights.

    Attributes:
      hidden: units of the scheduler.
      width: of the two hidden layers of the rule.
      scheduled: whether there is a scheduler; False in the first phase of meta-training, with steps
        ten times as long as under a scheduler that says nothing.
    """

    hidden: int = 64
    width: int = 4
    scheduled: bool = True

    def __post_init__(self) -> None:
        check_positive(hidden=self.hidden, width=self.width)


class CeloState(NamedTuple):
    """Memory of the optimizer.

    Attributes:
      moments: see `metarl.optimizers.lopt.accumulators`.
      schedule: of the scheduler; None if there is none.
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
    """Makes the transformation `g -> -0.001 f o_0 exp(0.001 o_1) rms(p)`.

    `o` are the outputs of the rule on 30 channels, `f` is the scheduled factor, or 1 without a
    scheduler. `update` needs `params` and, with a scheduler, `value`: the loss.

    Args:
      theta: weights, see `celo_init`.
      config: architecture; None = that of the released weights.
      num_steps: updates of the whole training, beyond which the scheduler is told that it is over;
        not needed without one.
      implementation: of the kernel; None = the best that can run.

    Raises:
      ConfigError: `num_steps` is missing or below 1; or, in `update`, `params` or `value` is
        missing, or the loss is no scalar; or as `metarl.optimizers.lopt.accumulators` says.
    """
    config = CeloConfig() if config is None else config
    steps = check_num_steps("celo", num_steps) if config.scheduled else 1

    def init(params: PyTree) -> CeloState:
        schedule = start_schedule(theta["schedule"]) if config.scheduled else None
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
    """Makes the optimizer for a learner, to be meta-trained.

    Args:
      config: architecture; None = that of the released weights.
      network: the rule from a first phase, held: theta is then `{"schedule": ...}`.
    """
    config = CeloConfig() if config is None else config
    held = {} if network is None else {"network": network}

    def init(key: Key) -> Theta:
        theta = celo_init(config, key)
        return {name: part for name, part in theta.items() if name not in held}

    return without_parameter_info(
        "celo", init, lambda theta, num_steps: celo({**theta, **held}, config, num_steps)
    )
