"""Retrace: action-value targets from other policies' experience, with traces that are cut."""

import jax
import jax.numpy as jnp

from metarl.core.types import Array

_UNROLL = 16  # a handful of tiny operations: on CPU the loop's overhead dominates


def retrace_targets(
    r_t: Array,
    q_tm1: Array,
    v_t: Array,
    trace_tm1: Array,
    terminated_t: Array,
    done_t: Array,
    gamma: float | Array,
) -> Array:
    """Retrace targets of the action-values of the actions taken.

    `G_tm1 = r_t + gamma (1 - terminated_t) (v_t + (1 - done_t) trace_t (G_t - q_t))`, where
    `trace_t` and `q_t` are of the action taken next. A truncated step keeps its bootstrap value,
    but nothing of the next episode reaches it; the last step is followed by nothing.

    Args:
      r_t: rewards `[T, ...]`.
      q_tm1: values of the actions taken `[T, ...]`.
      v_t: values of the states reached `[T, ...]`; at the end of an episode that of its *final*
        observation.
      trace_tm1: trace coefficients of the actions taken `[T, ...]`: `lambda min(1, pi / mu)`.
      terminated_t: 1 where the task ended.
      done_t: 1 where the episode ended, terminated or truncated.
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
