"""Replay probabilities of the levels in a buffer, in logarithms to avoid overflow.

`C` is the capacity of the buffer. Only levels that `can` be replayed, bool `[C]`, have a weight;
the log-weights of the others are minus infinity.
"""

from collections.abc import Callable
from types import MappingProxyType

import jax
import jax.numpy as jnp

from metarl.core.types import Array


def rank_weights(scores: Array, can: Array, temperature: float) -> Array:
    """Returns rank weights, `-log(rank) / temperature`; the highest score has rank 1.

    Tied levels have their mean rank.

    Args:
      scores: scores of the levels, finite where `can`, `[C]`.
      can: whether a level can be replayed, `[C]`.
      temperature: temperature above zero; lower values prefer the highest scores more.

    Returns:
      Log-weights, `[C]`.

    Reference: Jiang et al. 2021, arXiv:2010.03934, section 3.2.
    """
    costs = jnp.where(can, -scores, jnp.inf)
    ordered = jnp.sort(costs)
    below = jnp.searchsorted(ordered, costs, side="left")
    not_above = jnp.searchsorted(ordered, costs, side="right")
    rank = (below + not_above + 1).astype(scores.dtype) / 2
    return jnp.where(can, -jnp.log(rank) / temperature, -jnp.inf)


def proportional_weights(scores: Array, can: Array, temperature: float) -> Array:
    """Returns proportional weights, `log(score) / temperature`; scores <= 0 have no weight.

    For arguments and result see `rank_weights`.

    Reference: Jiang et al. 2021, arXiv:2010.03934, section 3.2.
    """
    positive = can & (scores > 0)
    return jnp.where(positive, jnp.log(jnp.where(positive, scores, 1.0)), -jnp.inf) / temperature


def softmax_weights(scores: Array, can: Array, temperature: float) -> Array:
    """Returns softmax weights, `(score - max score) / temperature`, for scores of either sign.

    For arguments and result see `rank_weights`.

    Reference: the buffer of Jackson et al. 2023, arXiv:2310.02782.
    """
    highest = jnp.max(scores, where=can, initial=-jnp.inf)
    below = jnp.where(can, scores, highest) - highest
    return jnp.where(can, below / temperature, -jnp.inf)


PRIORITIZATIONS: MappingProxyType[str, Callable[[Array, Array, float], Array]] = MappingProxyType(
    {"rank": rank_weights, "proportional": proportional_weights, "softmax": softmax_weights}
)
"""Prioritization functions by name."""


def log_shares(log_weights: Array, can: Array) -> Array:
    """Normalizes log-weights `[C]` to log-probabilities; uniform if no level has a weight."""
    equal = jnp.where(can, 0.0, -jnp.inf)
    log_weights = jnp.where(jnp.max(log_weights) > -jnp.inf, log_weights, equal)
    return jnp.where(can, jax.nn.log_softmax(log_weights), -jnp.inf)


def mix_with_staleness(by_score: Array, by_staleness: Array, staleness: float) -> Array:
    """Returns `log((1 - staleness) P_score + staleness P_stale)`, `[C]`.

    Reference: Jiang et al. 2021, arXiv:2010.03934, section 3.2.
    """
    share = jnp.asarray(staleness, by_score.dtype)
    return jnp.logaddexp(jnp.log1p(-share) + by_score, jnp.log(share) + by_staleness)
