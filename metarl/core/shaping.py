"""Turning meta-losses of a population into weights; the last axis is the population `P`.

Shaping keeps the sign of a loss: smaller stays better.
"""

from collections.abc import Callable
from types import MappingProxyType

import jax.numpy as jnp

from metarl.core.numerics import STD_EPS
from metarl.core.types import Array


def centered_rank(losses: Array) -> Array:
    """Ranks scaled to `[-0.5, 0.5]`, ties sharing their mean rank.

    Args:
      losses: finite, `[..., P]`.

    Returns:
      The best at -0.5, the worst at 0.5; all zero when all are equal.

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
    """Losses shifted and scaled to mean 0 and standard deviation 1; zero when all are equal.

    Args:
      losses: finite, `[..., P]`.
    """
    # Shifting by a member first makes equal losses exactly zero, whatever their size.
    shifted = losses - losses[..., :1]
    centred = shifted - jnp.mean(shifted, axis=-1, keepdims=True)
    return centred / (jnp.std(shifted, axis=-1, keepdims=True) + STD_EPS)


def win_loss(losses: Array) -> Array:
    """Within each antithetic pair `(2i, 2i + 1)`: the better -0.5, the worse 0.5, a tie zero.

    What a task is worth cancels where a pair shares it, so that tasks of any difficulty count
    alike.

    Args:
      losses: finite, `[..., P]`, P even.

    Reference: Jackson et al. 2024, arXiv:2402.05828, section 4.2.
    """
    sign = 0.5 * jnp.sign(losses[..., 0::2] - losses[..., 1::2])
    return jnp.stack([sign, -sign], axis=-1).reshape(losses.shape)


def clipped(differences: Array, limit: float | None) -> Array:
    """Differences of losses within pairs, cut to `[-limit, limit]`; None = as they are.

    One pair on a cliff of the meta-loss then cannot drown all others. The price is bias: what
    estimates a gradient from cut differences descends another function than the mean loss.
    """
    return differences if limit is None else jnp.clip(differences, -limit, limit)


def unshaped(losses: Array) -> Array:
    """The losses as they are."""
    return losses


SHAPINGS: MappingProxyType[str, Callable[[Array], Array]] = MappingProxyType(
    {"centered_rank": centered_rank, "z_score": z_score, "win_loss": win_loss, "none": unshaped}
)
"""Every shaping by the name that configurations use."""


def replace_diverged(losses: Array) -> tuple[Array, Array]:
    """Gives members whose loss is not finite the worst finite loss of their row.

    A row without any finite loss becomes zero, which every shaping keeps at zero.

    Args:
      losses: `[..., P]`; leading axes are separate comparisons, such as environments.

    Returns:
      The losses, all finite, and the number of members that were not finite in at least one row
      (an int32 scalar).
    """
    finite = jnp.isfinite(losses)
    worst = jnp.max(losses, axis=-1, keepdims=True, where=finite, initial=-jnp.inf)
    worst = jnp.where(jnp.isfinite(worst), worst, jnp.zeros_like(worst))
    diverged = ~jnp.all(finite, axis=tuple(range(losses.ndim - 1)))
    return jnp.where(finite, losses, worst), jnp.sum(diverged, dtype=jnp.int32)


def shaped_mean(losses: Array, shaping: str) -> Array:
    """Shapes each row and averages rows, so that rows of different scale count alike.

    Args:
      losses: finite, `[U, P]`, one row an unroll (environment).
      shaping: a name of `SHAPINGS`.

    Returns:
      `[P]`.
    """
    return jnp.mean(SHAPINGS[shaping](losses), axis=0)
