"""LSTM with one state per tensor, shared by VeLO, Celo and RNN-MLP.

Gates and initialization are those of haiku, in which the published weights were trained.
"""

from collections.abc import Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp

from metarl.core.keys import split_named
from metarl.core.types import Array, Key, Theta

FORGET_BIAS = 1.0
"""Bias added to the forget gate before its sigmoid."""


class LSTMState(NamedTuple):
    """State of the LSTM, float32, one row per tensor.

    Attributes:
      hidden: hidden state `[N, H]`, which is also the output.
      cell: cell state `[N, H]`.
    """

    hidden: Array
    cell: Array


def linear_init(key: Key, inputs: int, outputs: int) -> dict[str, Array]:
    """Draws a layer: truncated normal kernel `[inputs, outputs]`, zero bias.

    The normal has standard deviation `1 / sqrt(inputs)` and is truncated at two of them.
    """
    kernel = jax.random.truncated_normal(key, -2.0, 2.0, (inputs, outputs)) / jnp.sqrt(inputs)
    return {"kernel": kernel, "bias": jnp.zeros(outputs)}


def linear(layer: Mapping[str, Array], x: Array) -> Array:
    """Computes `x kernel + bias` for a batch `x [N, inputs]`, in float32 on every device."""
    product = jnp.matmul(x, layer["kernel"], precision=jax.lax.Precision.HIGHEST)
    return product + layer["bias"][None]


def lstm_init(key: Key, inputs: int, hidden: int) -> Theta:
    """Draws an LSTM: `gates` (input, candidate, forget, output) and the initial state."""
    return {
        "gates": linear_init(key, inputs + hidden, 4 * hidden),
        "hidden": jnp.zeros(hidden),
        "cell": jnp.zeros(hidden),
    }


def mixed_lstm_init(key: Key, inputs: int, hidden: int) -> Theta:
    """Draws an LSTM behind a layer that mixes features of all tensors; see `mix_tensors`."""
    names = ("own", "shared", "lstm")
    own, shared, lstm = split_named(key, *names)
    return {
        "own": linear_init(own, inputs, hidden),
        "shared": linear_init(shared, inputs, hidden),
        "lstm": lstm_init(lstm, hidden, hidden),
    }


def init_lstm_state(theta: Theta, tensors: int) -> LSTMState:
    """Returns the initial state, equal for all N tensors."""
    return LSTMState(*(jnp.tile(theta[name][None], (tensors, 1)) for name in ("hidden", "cell")))


def lstm(theta: Theta, x: Array, state: LSTMState) -> LSTMState:
    """Returns the next state: `c = s(f + 1) c + s(i) tanh(g)`, `h = s(o) tanh(c)`.

    Args:
      theta: weights from `lstm_init`.
      x: inputs `[N, F]`.
      state: previous state.
    """
    gates = linear(theta["gates"], jnp.concatenate([x, state.hidden], axis=1))
    i, g, f, o = jnp.split(gates, 4, axis=1)
    kept = jax.nn.sigmoid(f + FORGET_BIAS) * state.cell
    cell = kept + jax.nn.sigmoid(i) * jnp.tanh(g)
    return LSTMState(jax.nn.sigmoid(o) * jnp.tanh(cell), cell)


def mix_tensors(theta: Theta, x: Array) -> Array:
    """Computes `own(x) + max relu(shared(x))`, the maximum over tensors, `[N, H]`.

    Args:
      theta: weights from `mixed_lstm_init`.
      x: features `[N, F]`, N at least 1.
    """
    return linear(theta["own"], x) + jnp.max(
        jax.nn.relu(linear(theta["shared"], x)), axis=0, keepdims=True
    )


def training_progress(step: Array, num_steps: Array | int) -> Array:
    """Computes `tanh(10 (t / N - c))` for nine c from 0.03 to 1.1, `[9]`.

    Args:
      step: number of updates so far t, clipped to N.
      num_steps: number of updates of the training run N.
    """
    fraction = jnp.minimum(step / jnp.asarray(num_steps, jnp.float32), 1.0)
    return jnp.tanh(10.0 * (fraction - jnp.asarray(PROGRESS_POINTS, jnp.float32)))


PROGRESS_POINTS = (0.03, 0.1, 0.2, 0.4, 0.6, 0.8, 0.9, 1.0, 1.1)
"""Fractions of training at which the progress features cross zero."""
