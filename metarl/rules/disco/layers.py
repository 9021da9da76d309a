"""The layers of the meta-network, as functions of their weights."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from metarl.core.types import Array

Layer = dict[str, Any]
"""`{"w": [in, out], "b": [out]}`."""

_FORGET_BIAS = 1.0
_UNROLL = 4


class LSTMState(NamedTuple):
    """State of an LSTM, both `[..., H]`."""

    hidden: Array
    cell: Array


def dense(layer: Layer, x: Array) -> Array:
    """`x W + b`, for `x [..., in]`."""
    y = x @ layer["w"]
    return y + jnp.broadcast_to(layer["b"], y.shape)


def perceptron(hidden: Layer, out: Layer, x: Array) -> Array:
    """Applies a hidden layer with ReLU, then a linear layer."""
    return dense(out, jax.nn.relu(dense(hidden, x)))


def among_actions(layer: Layer, x: Array) -> Array:
    """Maps `x [..., A, F]` to `relu([x, mean of x over A] W + b)`: equivariant in the actions."""
    own, mean = jnp.split(layer["w"], 2)
    pooled = jnp.mean(x, axis=-2, keepdims=True) @ mean
    return jax.nn.relu(dense({"w": own, "b": layer["b"]}, x) + pooled)


def lstm_step(gates: Array, cell: Array) -> LSTMState:
    """Applies gates `[..., 4H]`, in the order input, candidate, forget, output."""
    i, g, f, o = jnp.split(gates, 4, axis=-1)
    cell = jax.nn.sigmoid(f + _FORGET_BIAS) * cell + jax.nn.sigmoid(i) * jnp.tanh(g)
    return LSTMState(jax.nn.sigmoid(o) * jnp.tanh(cell), cell)


def backwards_lstm(layer: Layer, x: Array, done: Array) -> Array:
    """Runs an LSTM from the last step to the first; resets its state where an episode ends.

    Args:
      layer: weights on `[input, hidden]`.
      x: inputs `[T, B, F]`.
      done: whether the episode ended with this step `[T, B]`.

    Returns:
      Hidden states `[T, B, H]`.
    """
    width = layer["w"].shape[1] // 4
    into, recurrent = layer["w"][:-width], layer["w"][-width:]
    # The input part of the gates does not depend on the recurrence: one product for all steps.
    driven = dense({"w": into, "b": layer["b"]}, x)
    keep = 1.0 - done.astype(x.dtype)[..., None]

    def step(state: LSTMState, inputs: tuple[Array, Array]) -> tuple[LSTMState, Array]:
        driven, keep = inputs
        state = lstm_step(driven + (keep * state.hidden) @ recurrent, keep * state.cell)
        return state, state.hidden

    zeros = jnp.zeros((*x.shape[1:-1], width), x.dtype)
    _, hidden = jax.lax.scan(
        step,
        LSTMState(zeros, zeros),
        (driven, keep),
        reverse=True,
        unroll=min(_UNROLL, x.shape[0]),
    )
    return hidden
