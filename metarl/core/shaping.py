"""Fitness shaping: maps meta-losses of a population to weights; the last axis is `P`.

Lower is better, before and after shaping.
"""

from collections.abc import Callable
from types import MappingProxyType

import jax.numpy as jnp

from metarl.core.numerics import STD_EPS
from metarl.core.types import Array


def centered_rank(losses: Array) -> Array:
    """Ranks scaled to `[-0.5, 0.5]`, ties sharing their mean rank.

    Args:
      losses: finite losses, `[..., P]`.

    Returns:
      Ranks `[..., P]`: the best is -0.5, the worst 0.5; all are zero if all losses are equal.

    Reference: Salimans et al. 2017, arXiv:1703.03864, section 2.1.
    """

    def ranks(losses: Array) -> Array:
        ordered = jnp.sort(losses)
        below = jnp.searchsorted(ordered, losses, side="left")
        not_above = jnp.searchsorted(ordered, losses, side="right")
        mean_rank = (below + not_above - 1).astype(losses.dtype) / 2
        return mean_rank / max(losses.shape[0] - 1, 1) - (0.5 if losses.shape[0] > 1 else 0.0)

    return jnp.vectorize(ranks, signature="(p)->(p)")(losses)


def z_score(losses: Array) -> Array:
    """Losses shifted and scaled to mean 0 and standard deviation 1; zero if all are equal.

    Args:
      losses: finite losses, `[..., P]`.
    """
    # The shift by one member makes equal losses exactly zero, whatever their magnitude.
    shifted = losses - losses[..., :1]
    centered = shifted - jnp.mean(shifted, axis=-1, keepdims=True)
    return centered / (jnp.std(shifted, axis=-1, keepdims=True) + STD_EPS)


def win_loss(losses: Array) -> Array:
    """Win or loss within each antithetic pair `(2i, 2i + 1)`: better -0.5, worse 0.5, tie zero.

    The difficulty of a task that a pair shares cancels, so that all tasks have equal weight.

    Args:
      losses: finite losses, `[..., P]`, P even.

    Reference: Jackson et al. 2024, arXiv:2402.05828, section 4.2.
    """
    sign = 0.5 * jnp.sign(losses[..., 0::2] - losses[..., 1::2])
    return jnp.stack([sign, -sign], axis=-1).reshape(losses.shape)


def clipped(differences: Array, limit: float | None) -> Array:
    """Differences of losses within pairs, clipped to `[-limit, limit]`; None = no clipping.

    Clipping prevents one pair at a steep part of the meta-loss from dominating the sum. It is
    biased: the estimate is then the gradient of another function than the mean loss.
    """
    return differences if limit is None else jnp.clip(differences, -limit, limit)


def unshaped(losses: Array) -> Array:
    """Returns the losses unchanged."""
    return losses


SHAPINGS: MappingProxyType[str, Callable[[Array], Array]] = MappingProxyType(
    {"centered_rank": centered_rank, "z_score": z_score, "win_loss": win_loss, "none": unshaped}
)
"""Shaping functions by the name that configurations use."""


def replace_diverged(losses: Array) -> tuple[Array, Array]:
    """Replaces losses that are not finite by the largest finite loss of their row.

    A row without any finite loss becomes zero, which every shaping maps to zero.

    Args:
      losses: losses `[..., P]`; leading axes are separate comparisons, such as environments.

    Returns:
      The losses, all finite, and the number of members whose loss was not finite in at least one
      row (an int32 scalar).
    """
    finite = jnp.isfinite(losses)
    worst = jnp.max(losses, axis=-1, keepdims=True, where=finite, initial=-jnp.inf)
    worst = jnp.where(jnp.isfinite(worst), worst, jnp.zeros_like(worst))
    diverged = ~jnp.all(finite, axis=tuple(range(losses.ndim - 1)))
    return jnp.where(finite, losses, worst), jnp.sum(diverged, dtype=jnp.int32)


def shaped_mean(losses: Array, shaping: str) -> Array:
    """Shapes each row and averages the rows, so that rows of different scale have equal weight.

    Args:
      losses: finite losses, `[U, P]`, one row for each unroll (environment).
      shaping: key of `SHAPINGS`.

    Returns:
      Weights `[P]`.
    """
    return jnp.mean(SHAPINGS[shaping](losses), axis=0)
