"""Generalized advantage estimation (GAE).

Time suffixes: a transition leads from `s_tm1` to `s_t` with reward `r_t`. Arrays are `[T, ...]`;
the recursion runs over the first axis, elementwise over the others.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from metarl.core.types import Array

_UNROLL = 8  # the loop body is small: on CPU the loop overhead dominates


class Advantages(NamedTuple):
    """Advantages and value targets, both `[T, ...]`."""

    advantages: Array
    targets: Array


def generalized_advantage_estimation(
    r_t: Array,
    v_tm1: Array,
    v_t: Array,
    terminated_t: Array,
    done_t: Array,
    gamma: float | Array,
    lambda_: float | Array,
) -> Advantages:
    """Generalized advantage estimation; bootstraps on truncation, not on termination.

    `delta_t = r_t + gamma (1 - terminated_t) v_t - v_tm1` and
    `A_tm1 = delta_t + gamma lambda (1 - done_t) A_t`: a truncated step keeps its bootstrap
    value, but advantages of the next episode do not propagate to it.

    Args:
      r_t: rewards `[T, ...]`.
      v_tm1: values of the states acted in `[T, ...]`.
      v_t: values of the next states `[T, ...]`; at the end of an episode the value of its *final*
        observation, not of the next episode's first.
      terminated_t: termination mask, 1 where the episode terminated.
      done_t: end mask, 1 where the episode terminated or was truncated.
      gamma: discount in [0, 1].
      lambda_: trace decay in [0, 1].

    Returns:
      Advantages, and the value targets `A_tm1 + v_tm1`.

    Reference: Schulman et al. 2016, arXiv:1506.02438, eq. 16.
    """
    deltas = r_t + gamma * (1.0 - terminated_t) * v_t - v_tm1
    decays = gamma * lambda_ * (1.0 - done_t)

    def backwards(advantage: Array, inputs: tuple[Array, Array]) -> tuple[Array, Array]:
        delta, decay = inputs
        advantage = delta + decay * advantage
        return advantage, advantage

    _, advantages = jax.lax.scan(
        backwards,
        jnp.zeros_like(deltas[0]),
        (deltas, decays),
        reverse=True,
        unroll=min(_UNROLL, deltas.shape[0]),
    )
    return Advantages(advantages, advantages + v_tm1)
