"""A drift over the plane of ratio and advantage, and what it does there in numbers."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from metarl.core.types import Array


@dataclass(frozen=True, eq=False)
class DriftGrid:
    """A drift over the plane of ratio and advantage.

    Attributes:
      name: rule name.
      ratios: new over old probability of the action, `[R]`.
      advantages: standardised advantage, `[A]`.
      drift: `[A, R]`.
      objective_gradient: derivative of `ratio * advantage - drift` by the ratio, `[A, R]`.
    """

    name: str
    ratios: np.ndarray
    advantages: np.ndarray
    drift: np.ndarray
    objective_gradient: np.ndarray

    def row(self, advantage: float) -> int:
        """Index of the advantage nearest to the one asked for."""
        return int(np.argmin(np.abs(self.advantages - advantage)))


def drift_grid(
    name: str,
    drift_fn: Callable[[Array, Array], Array],
    ratios: np.ndarray | None = None,
    advantages: np.ndarray | None = None,
) -> DriftGrid:
    """Tabulates a drift and the gradient of its objective.

    Args:
      name: rule name.
      drift_fn: `(ratio, advantage) -> drift`, elementwise over arrays of one shape.
      ratios: `[R]`; default 121 from 0.5 to 1.7, 1 among them.
      advantages: `[A]`; default 61 from -3 to 3.
    """
    ratios = np.linspace(0.5, 1.7, 121) if ratios is None else np.asarray(ratios)
    advantages = np.linspace(-3.0, 3.0, 61) if advantages is None else np.asarray(advantages)
    plane = np.meshgrid(ratios, advantages)
    ratio, advantage = (jnp.asarray(x, jnp.float32) for x in plane)

    @jax.jit
    def tabulate(ratio: Array, advantage: Array) -> tuple[Array, Array]:
        # The drift is elementwise, so the gradient of the sum holds every entry's own derivative.
        def total(r: Array) -> Array:
            return jnp.sum(r * advantage - drift_fn(r, advantage))

        return drift_fn(ratio, advantage), jax.grad(total)(ratio)

    drift, gradient = jax.device_get(tabulate(ratio, advantage))
    return DriftGrid(
        name,
        ratios.astype(np.float64),
        advantages.astype(np.float64),
        np.asarray(drift, np.float64),
        np.asarray(gradient, np.float64),
    )


class Quadrant(NamedTuple):
    """One of the four ways in which an update can move the probability of an action.

    Attributes:
      words: what happens there.
      share: fraction of the drift's total over the plane that lies here.
    """

    words: str
    share: float


QUADRANTS = {
    (True, True): "a good action has become more likely",
    (True, False): "a good action has become less likely",
    (False, True): "a bad action has become more likely",
    (False, False): "a bad action has become less likely",
}
"""(advantage > 0, ratio > 1) -> words."""


def quadrants(grid: DriftGrid) -> list[Quadrant]:
    """Shares of a drift's total in the four quadrants, largest first; empty for a zero drift."""
    drift = np.where(np.isfinite(grid.drift), grid.drift, 0.0)
    total = drift.sum()
    if total <= 0:
        return []
    good, more = grid.advantages[:, None] > 0, grid.ratios[None, :] > 1
    off_axis = (grid.advantages[:, None] != 0) & (grid.ratios[None, :] != 1)
    inside = drift[np.broadcast_to(off_axis, drift.shape)].sum() or 1.0

    def share(is_good: bool, is_more: bool) -> float:
        here = off_axis & (good == is_good) & (more == is_more)
        return float(drift[here].sum() / inside)

    found = [Quadrant(words, share(*signs)) for signs, words in QUADRANTS.items()]
    return sorted(found, key=lambda quadrant: -quadrant.share)


def reversed_share(grid: DriftGrid) -> float:
    """Fraction of the plane where the drift turns the policy gradient `A` round.

    There the objective pulls the ratio back; where its gradient is zero, as PPO's beyond the clip,
    it merely stops pushing and is not counted. Gradients below 1e-6 |A| count as zero.
    """
    advantage = np.broadcast_to(grid.advantages[:, None], grid.drift.shape)
    counted = (advantage != 0) & np.isfinite(grid.objective_gradient)
    against = grid.objective_gradient * np.sign(advantage) < -1e-6 * np.abs(advantage)
    return float(against[counted].mean()) if counted.any() else 0.0
