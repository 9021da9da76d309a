"""A learned factor for step sizes, from how far training has come and how its loss moves.

The scheduler of Celo (Moudgil et al. 2025, arXiv:2501.12670). There it is one recurrent network a
tensor, but every tensor is told the same and starts the same, so that all get the same factor; here
it runs once.
"""

from typing import NamedTuple

import jax.numpy as jnp
import optax

from metarl.core.keys import split_named
from metarl.core.types import Array, Key, Theta
from metarl.optimizers.lopt import loss_features as losses
from metarl.optimizers.protocol import Steps
from metarl.optimizers.velo.tensor_lstm import (
    PROGRESS_POINTS,
    LSTMState,
    linear,
    linear_init,
    lstm,
    mixed,
    mixed_lstm_init,
    start,
    training_progress,
)

INPUTS = len(PROGRESS_POINTS) + losses.FEATURES
"""Of the network: progress, then the loss."""

SCALE = 0.1
"""Factor of a network whose output is zero."""


class ScheduleState(NamedTuple):
    """Memory of the scheduler.

    Attributes:
      iteration: updates made, an int32 scalar.
      lstm: of the recurrent network, one row.
      losses: see `metarl.optimizers.lopt.loss_features`.
    """

    iteration: Array
    lstm: LSTMState
    losses: losses.LossBuffer


def schedule_init(hidden: int, key: Key) -> Theta:
    """Draws a scheduler with H hidden units.

    Returns:
      The arrays of `metarl.optimizers.velo.tensor_lstm.mixed_lstm_init`, and `step_size [H, 1]`.
    """
    recurrent, step_size = split_named(key, "recurrent", "step_size")
    return {
        **mixed_lstm_init(recurrent, INPUTS, hidden),
        "step_size": linear_init(step_size, hidden, 1),
    }


def start_schedule(theta: Theta) -> ScheduleState:
    """Makes the state before training."""
    iteration = jnp.zeros((), jnp.int32)
    return ScheduleState(iteration, start(theta["lstm"], 1), losses.init_loss_buffer())


def scheduled_factor(
    theta: Theta, state: ScheduleState, value: Array, num_steps: Steps
) -> tuple[Array, ScheduleState]:
    """Computes `0.1 exp(step_size(h))`, a scalar, with the recurrent network's output h.

    Args:
      theta: from `schedule_init`.
      state: before this update.
      value: the loss.
      num_steps: updates of the whole training.

    Returns:
      The factor, and the state after this update.
    """
    rates = losses.loss_rates(num_steps)
    buffer = losses.observe(state.losses, value, rates)
    progress = training_progress(state.iteration, num_steps)
    x = jnp.concatenate([progress, losses.loss_features(buffer, rates)])[None]
    recurrent = lstm(theta["lstm"], mixed(theta, x), state.lstm)
    factor = SCALE * jnp.exp(linear(theta["step_size"], recurrent.hidden)[0, 0])
    return factor, ScheduleState(optax.safe_increment(state.iteration), recurrent, buffer)
