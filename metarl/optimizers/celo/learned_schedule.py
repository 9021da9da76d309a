"""Learned step-size schedule of Celo: an LSTM of training progress and loss features.

Moudgil et al. 2025, arXiv:2501.12670. The published code runs the LSTM for every tensor, with equal
inputs and initial states, so that all factors are equal; this code runs it once.
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
    init_lstm_state,
    linear,
    linear_init,
    lstm,
    mix_tensors,
    mixed_lstm_init,
    training_progress,
)

INPUTS = len(PROGRESS_POINTS) + losses.FEATURES
"""Number of inputs: progress features, then loss features."""

SCALE = 0.1
"""Factor at zero output of the network."""


class ScheduleState(NamedTuple):
    """State of the scheduler.

    Attributes:
      iteration: number of updates so far, an int32 scalar.
      lstm: state of the LSTM, one row.
      losses: loss averages, see `metarl.optimizers.lopt.loss_features`.
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


def init_schedule_state(theta: Theta) -> ScheduleState:
    """Returns the initial state."""
    iteration = jnp.zeros((), jnp.int32)
    return ScheduleState(iteration, init_lstm_state(theta["lstm"], 1), losses.init_loss_buffer())


def scheduled_factor(
    theta: Theta, state: ScheduleState, value: Array, num_steps: Steps
) -> tuple[Array, ScheduleState]:
    """Computes the factor `0.1 exp(step_size(h))`, a scalar, from the LSTM's output h.

    Args:
      theta: weights from `schedule_init`.
      state: state before this update.
      value: loss, a scalar.
      num_steps: number of updates of the training run.

    Returns:
      The factor, and the state after this update.
    """
    rates = losses.loss_rates(num_steps)
    buffer = losses.observe(state.losses, value, rates)
    progress = training_progress(state.iteration, num_steps)
    x = jnp.concatenate([progress, losses.loss_features(buffer, rates)])[None]
    recurrent = lstm(theta["lstm"], mix_tensors(theta, x), state.lstm)
    factor = SCALE * jnp.exp(linear(theta["step_size"], recurrent.hidden)[0, 0])
    return factor, ScheduleState(optax.safe_increment(state.iteration), recurrent, buffer)
