"""A recurrent network with one state per tensor: VeLO, Celo and RNN-MLP steer tensors with it.

Gates and initial weights are those of haiku, in which the published ones were trained.
"""

from collections.abc import Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp

from metarl.core.keys import split_named
from metarl.core.types import Array, Key, Theta

FORGET_BIAS = 1.0
"""Added to the forget gate before its sigmoid."""


class LSTMState(NamedTuple):
    """Memory of the network, float32; a row a tensor.

    Attributes:
      hidden: `[N, H]`, also the output.
      cell: `[N, H]`.
    """

    hidden: Array
    cell: Array


def linear_init(key: Key, inputs: int, outputs: int) -> dict[str, Array]:
    """Makes a layer: kernel `[inputs, outputs]` from a normal cut at two deviations, bias zero.

    Before the cut its standard deviation is `1 / sqrt(inputs)`.
    """
    kernel = jax.random.truncated_normal(key, -2.0, 2.0, (inputs, outputs)) / jnp.sqrt(inputs)
    return {"kernel": kernel, "bias": jnp.zeros(outputs)}


def linear(layer: Mapping[str, Array], x: Array) -> Array:
    """Computes `x kernel + bias` for a batch `x [N, inputs]`, in full float32 on every device."""
    product = jnp.matmul(x, layer["kernel"], precision=jax.lax.Precision.HIGHEST)
    return product + layer["bias"][None]


def lstm_init(key: Key, inputs: int, hidden: int) -> Theta:
    """Makes an LSTM: `gates` (input, candidate, forget, output) and the state it starts from."""
    return {
        "gates": linear_init(key, inputs + hidden, 4 * hidden),
        "hidden": jnp.zeros(hidden),
        "cell": jnp.zeros(hidden),
    }


def mixed_lstm_init(key: Key, inputs: int, hidden: int) -> Theta:
    """Makes an LSTM behind a layer through which tensors hear of each other; see `mixed`."""
    names = ("own", "shared", "lstm")
    own, shared, lstm = split_named(key, *names)
    return {
        "own": linear_init(own, inputs, hidden),
        "shared": linear_init(shared, inputs, hidden),
        "lstm": lstm_init(lstm, hidden, hidden),
    }


def start(theta: Theta, tensors: int) -> LSTMState:
    """Makes the state before the first step, the same for all N tensors."""
    return LSTMState(*(jnp.tile(theta[name][None], (tensors, 1)) for name in ("hidden", "cell")))


def lstm(theta: Theta, x: Array, state: LSTMState) -> LSTMState:
    """Makes one step: `c = s(f + 1) c + s(i) tanh(g)`, `h = s(o) tanh(c)`.

    Args:
      theta: from `lstm_init`.
      x: inputs `[N, F]`.
      state: of the step before.
    """
    gates = linear(theta["gates"], jnp.concatenate([x, state.hidden], axis=1))
    i, g, f, o = jnp.split(gates, 4, axis=1)
    kept = jax.nn.sigmoid(f + FORGET_BIAS) * state.cell
    cell = kept + jax.nn.sigmoid(i) * jnp.tanh(g)
    return LSTMState(jax.nn.sigmoid(o) * jnp.tanh(cell), cell)


def mixed(theta: Theta, x: Array) -> Array:
    """Computes `own(x) + max relu(shared(x))`, the maximum over tensors, `[N, H]`.

    Args:
      theta: from `mixed_lstm_init`.
      x: features `[N, F]`, N at least 1.
    """
    return linear(theta["own"], x) + jnp.max(
        jax.nn.relu(linear(theta["shared"], x)), axis=0, keepdims=True
    )


def training_progress(step: Array, num_steps: Array | int) -> Array:
    """Computes `tanh(10 (t / N - c))` for nine c from 0.03 to 1.1, `[9]`.

    Args:
      step: t, updates so far; beyond N it counts as N.
      num_steps: N.
    """
    fraction = jnp.minimum(step / jnp.asarray(num_steps, jnp.float32), 1.0)
    return jnp.tanh(10.0 * (fraction - jnp.asarray(PROGRESS_POINTS, jnp.float32)))


PROGRESS_POINTS = (0.03, 0.1, 0.2, 0.4, 0.6, 0.8, 0.9, 1.0, 1.1)
"""Fractions of training about which an optimizer is told whether they are over."""
