"""Celo-Adam: Adam under the learned schedule of Celo (Moudgil et al. 2025, arXiv:2501.12670)."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from metarl.core.errors import check_positive
from metarl.core.numerics import finite_or
from metarl.core.types import Array, Key, PyTree, Theta
from metarl.optimizers.celo.learned_schedule import (
    ScheduleState,
    init_schedule_state,
    schedule_init,
    scheduled_factor,
)
from metarl.optimizers.lopt.accumulators import check_floating
from metarl.optimizers.lopt.loss_features import check_loss, check_num_steps
from metarl.optimizers.protocol import InnerOptimizer, Steps, without_parameter_info

LEARNING_RATE = 1e-3
"""Learning rate of Adam, which the schedule multiplies."""

GRADIENT_LIMIT = 1e3
"""Bound of elementwise gradient clipping."""


@dataclass(frozen=True)
class CeloAdamConfig:
    """Architecture; the default is that of the published weights.

    Attributes:
      hidden: number of units of the scheduler.
    """

    hidden: int = 64

    def __post_init__(self) -> None:
        check_positive(hidden=self.hidden)


class CeloAdamState(NamedTuple):
    """State of the optimizer.

    Attributes:
      adam: optax's state of Adam, float32.
      schedule: state of the scheduler.
    """

    adam: optax.OptState
    schedule: ScheduleState


def celo_adam_init(config: CeloAdamConfig, key: Key) -> Theta:
    """Draws the meta-parameters, `{"schedule": ...}`."""
    return {"schedule": schedule_init(config.hidden, key)}


def celo_adam(
    theta: Theta,
    config: CeloAdamConfig | None = None,
    num_steps: Steps | None = None,
) -> optax.GradientTransformationExtraArgs:
    """Returns the transformation `g -> -0.001 f m / (1e-8 + sqrt(v + 1e-10))`.

    `m` and `v` are Adam's bias-corrected averages, with decays 0.9 and 0.999, of the gradient
    clipped by `bounded`; `f` is the scheduled factor. `update` requires `value`, the loss.

    Args:
      theta: weights, see `celo_adam_init`.
      config: unused; the shapes of theta determine the architecture.
      num_steps: number of updates of the training run, at which the progress features saturate.

    Raises:
      ConfigError: `num_steps` is missing or below 1; a tensor is not of a floating dtype; or, in
        `update`, `value` is missing or not a scalar.
    """
    del config
    steps = check_num_steps("celo_adam", num_steps)
    adam = optax.scale_by_adam(0.9, 0.999, 1e-8, 1e-10)

    def init(params: PyTree) -> CeloAdamState:
        check_floating(params, "parameter")
        zeros = jax.tree.map(lambda p: jnp.zeros(jnp.shape(p), jnp.float32), params)
        return CeloAdamState(adam.init(zeros), init_schedule_state(theta["schedule"]))

    def update(
        updates: PyTree,
        state: CeloAdamState,
        params: PyTree | None = None,
        *,
        value: Array | None = None,
        **unused: Any,
    ) -> tuple[PyTree, CeloAdamState]:
        del unused
        check_floating(updates, "gradient")
        loss = check_loss("celo_adam", value)
        factor, schedule = scheduled_factor(theta["schedule"], state.schedule, loss, steps)
        scaled, new = adam.update(jax.tree.map(bounded, updates), state.adam)
        rate = LEARNING_RATE * factor
        scaled_updates = jax.tree.map(lambda u, g: (-rate * u).astype(g.dtype), scaled, updates)
        return scaled_updates, CeloAdamState(new, schedule)

    return optax.GradientTransformationExtraArgs(init, update)


def celo_adam_inner(config: CeloAdamConfig | None = None) -> InnerOptimizer:
    """Returns the `InnerOptimizer` for meta-training."""
    config = CeloAdamConfig() if config is None else config
    return without_parameter_info("celo_adam", config, celo_adam_init, celo_adam)


def bounded(gradient: Array) -> Array:
    """Clips a gradient to `GRADIENT_LIMIT` in float32; non-finite elements become zero."""
    gradient = finite_or(jnp.asarray(gradient, jnp.float32), jnp.float32(0))
    return jnp.clip(gradient, -GRADIENT_LIMIT, GRADIENT_LIMIT)
