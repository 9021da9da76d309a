"""Retrace: off-policy action-value targets with truncated importance weights."""

import jax
import jax.numpy as jnp

from metarl.core.types import Array

_UNROLL = 16  # the loop body is small: on CPU the loop overhead dominates


def retrace_targets(
    r_t: Array,
    q_tm1: Array,
    v_t: Array,
    trace_tm1: Array,
    terminated_t: Array,
    done_t: Array,
    gamma: float | Array,
) -> Array:
    """Returns Retrace targets of the action-values of the actions taken.

    `G_tm1 = r_t + gamma (1 - terminated_t) (v_t + (1 - done_t) trace_t (G_t - q_t))`, where
    `trace_t` and `q_t` belong to the next action. A truncated step keeps its bootstrap value, but
    nothing propagates to it from the next episode. The last step has no successor.

    Args:
      r_t: rewards `[T, ...]`.
      q_tm1: values of the actions taken `[T, ...]`.
      v_t: values of the next states `[T, ...]`; at the end of an episode the value of its *final*
        observation.
      trace_tm1: trace coefficients of the actions taken `[T, ...]`: `lambda min(1, pi / mu)`.
      terminated_t: termination mask, 1 where the episode terminated.
      done_t: end mask, 1 where the episode terminated or was truncated.
      gamma: discount in [0, 1].

    Returns:
      Targets `[T, ...]`.

    Reference: Munos et al. 2016, arXiv:1606.02647, eq. 4.
    """
    discounts = gamma * (1.0 - terminated_t)
    continues = 1.0 - done_t

    def backwards(correction: Array, inputs: tuple[Array, ...]) -> tuple[Array, Array]:
        r, q, v, trace, discount, onward = inputs
        target = r + discount * (v + onward * correction)
        return trace * (target - q), target

    _, targets = jax.lax.scan(
        backwards,
        jnp.zeros_like(r_t[0]),
        (r_t, q_tm1, v_t, trace_tm1, discounts, continues),
        reverse=True,
        unroll=min(_UNROLL, r_t.shape[0]),
    )
    return targets
