"""How likely each level of a buffer is to be replayed; all in logarithms, so nothing overflows.

`C` is the capacity of the buffer. Only levels that `can` be replayed, booleans `[C]`, have a
weight; the others are at minus infinity.
"""

from collections.abc import Callable
from types import MappingProxyType

import jax
import jax.numpy as jnp

from metarl.core.types import Array


def rank_weights(scores: Array, can: Array, temperature: float) -> Array:
    """`-log(rank) / temperature`, the highest score having rank 1 and ties their mean rank.

    Args:
      scores: finite where `can`, `[C]`.
      can: which levels can be replayed, `[C]`.
      temperature: above zero; the smaller, the more the best levels are preferred.

    Returns:
      Logarithms of weights, `[C]`.

    Reference: Jiang et al. 2021, arXiv:2010.03934, section 3.2.
    """
    costs = jnp.where(can, -scores, jnp.inf)
    ordered = jnp.sort(costs)
    below = jnp.searchsorted(ordered, costs, side="left")
    not_above = jnp.searchsorted(ordered, costs, side="right")
    rank = (below + not_above + 1).astype(scores.dtype) / 2
    return jnp.where(can, -jnp.log(rank) / temperature, -jnp.inf)


def proportional_weights(scores: Array, can: Array, temperature: float) -> Array:
    """`log(score) / temperature`; a score of zero or less has no weight.

    Args and returns as of `rank_weights`.

    Reference: Jiang et al. 2021, arXiv:2010.03934, section 3.2.
    """
    positive = can & (scores > 0)
    return jnp.where(positive, jnp.log(jnp.where(positive, scores, 1.0)), -jnp.inf) / temperature


def softmax_weights(scores: Array, can: Array, temperature: float) -> Array:
    """`(score - highest score) / temperature`, for scores of either sign.

    Args and returns as of `rank_weights`.

    Reference: the buffer of Jackson et al. 2023, arXiv:2310.02782.
    """
    highest = jnp.max(scores, where=can, initial=-jnp.inf)
    below = jnp.where(can, scores, highest) - highest
    return jnp.where(can, below / temperature, -jnp.inf)


PRIORITIZATIONS: MappingProxyType[str, Callable[[Array, Array, float], Array]] = MappingProxyType(
    {"rank": rank_weights, "proportional": proportional_weights, "softmax": softmax_weights}
)
"""Every prioritisation by the name that configurations use."""


def log_shares(log_weights: Array, can: Array) -> Array:
    """Weights that sum to one, `[C]`; equal ones where no level has any weight."""
    equal = jnp.where(can, 0.0, -jnp.inf)
    log_weights = jnp.where(jnp.max(log_weights) > -jnp.inf, log_weights, equal)
    return jnp.where(can, jax.nn.log_softmax(log_weights), -jnp.inf)


def mix_with_staleness(by_score: Array, by_staleness: Array, staleness: float) -> Array:
    """`log((1 - staleness) P_score + staleness P_stale)`, `[C]`, from the logarithms of both.

    Reference: Jiang et al. 2021, arXiv:2010.03934, section 3.2.
    """
    share = jnp.asarray(staleness, by_score.dtype)
    return jnp.logaddexp(jnp.log1p(-share) + by_score, jnp.log(share) + by_staleness)
