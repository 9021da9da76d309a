"""The envelope of tuned baselines: the best loss that any of them has reached by a step.

A learned optimizer is compared with the lowest training curve over optimizers, learning rates and
seeds, at every step anew (Metz et al. 2020, arXiv:2009.11243).
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from metarl.core.errors import ConfigError, check_range


@dataclass(frozen=True, eq=False)
class Envelope:
    """A loss that never rises, as a function of the number of updates.

    Attributes:
      steps: updates made at each knot, `[K]`, rising.
      losses: loss there, `[K]`, not rising.

    Raises:
      ConfigError: fewer than two knots, or numbers that are not finite, do not rise, or rise.
    """

    steps: np.ndarray
    losses: np.ndarray

    def __post_init__(self) -> None:
        steps, losses = (np.asarray(x, np.float64) for x in (self.steps, self.losses))
        if steps.ndim != 1 or steps.shape != losses.shape or steps.size < 2:
            raise ConfigError(
                "An envelope needs two knots or more, each with a loss; got steps "
                f"{steps.shape} and losses {losses.shape}."
            )
        if not (np.isfinite(steps).all() and np.isfinite(losses).all()):
            raise ConfigError("The knots of an envelope must be finite.")
        if np.any(np.diff(steps) <= 0) or np.any(np.diff(losses) > 0):
            raise ConfigError("Along an envelope steps must rise, and losses must not.")
        object.__setattr__(self, "steps", steps)
        object.__setattr__(self, "losses", losses)

    def loss_at(self, steps: ArrayLike) -> np.ndarray:
        """The loss after some updates, linear between knots, constant beyond them."""
        return np.interp(np.asarray(steps, np.float64), self.steps, self.losses)

    def steps_to(self, losses: ArrayLike) -> np.ndarray:
        """Updates after which the envelope first reaches a loss, linear between knots.

        Below its last loss it says its last step, and at or above its first loss, as of NaN, its
        first: there it knows no better; `covers` tells where.
        """
        wanted = np.asarray(losses, np.float64)
        # The first knot at or below the wanted loss; the search needs a rising order.
        after = np.searchsorted(-self.losses, -wanted, side="left")
        k = np.clip(after, 1, self.steps.size - 1)
        high, low = self.losses[k - 1], self.losses[k]
        share = np.divide(high - wanted, high - low, where=high > low, out=np.ones_like(high))
        inside = self.steps[k - 1] + share * (self.steps[k] - self.steps[k - 1])
        found = np.where(wanted >= self.losses[0], self.steps[0], inside)
        found = np.where(wanted < self.losses[-1], self.steps[-1], found)
        return np.where(np.isnan(wanted), self.steps[0], found)

    def covers(self, losses: ArrayLike) -> np.ndarray:
        """Whether a loss lies between the envelope's ends, so that `steps_to` does not saturate."""
        wanted = np.asarray(losses, np.float64)
        return (wanted >= self.losses[-1]) & (wanted <= self.losses[0])

    def to_json(self) -> dict[str, Any]:
        """Knots as lists; losses to six digits, which is finer than any of them is measured."""
        return {
            "steps": [int(x) if x == int(x) else x for x in self.steps.tolist()],
            "losses": [float(f"{x:.6g}") for x in self.losses.tolist()],
        }


def bottom_envelope(steps: ArrayLike, curves: ArrayLike) -> Envelope:
    """The least loss of any curve at each step or before it.

    Args:
      steps: updates made at each point of the curves, `[K]`, rising.
      curves: losses `[..., K]`; what is not finite does not count.

    Raises:
      ConfigError: no curve is finite at the first step, or shapes do not fit.
    """
    points = np.asarray(steps, np.float64)
    losses = np.asarray(curves, np.float64)
    if losses.ndim < 1 or losses.shape[-1:] != points.shape:
        raise ConfigError(f"Curves must be [..., {points.size}], got {losses.shape}.")
    losses = np.where(np.isfinite(losses), losses, np.inf).reshape(-1, points.size)
    if losses.shape[0] == 0 or not np.isfinite(losses[:, 0]).any():
        raise ConfigError("An envelope needs a curve that is finite at its first step.")
    return Envelope(points, np.minimum.accumulate(losses.min(axis=0)))


def exponential_moving_average(curves: ArrayLike, decay: float) -> np.ndarray:
    """Smooths noisy curves along their last axis before an envelope is taken of them.

    `m_0 = x_0`, `m_k = decay m_(k-1) + (1 - decay) x_k`. The minimum over many noisy curves is
    lower than any of them truly is; published envelopes are of curves smoothed with 0.95.

    Args:
      curves: losses `[..., K]`.
      decay: in [0, 1); 0 leaves them as they are.
    """
    check_range(0.0, 1.0 - 1e-9, decay=decay)
    smooth = np.array(curves, np.float64)
    for k in range(1, smooth.shape[-1]):
        smooth[..., k] = decay * smooth[..., k - 1] + (1.0 - decay) * smooth[..., k]
    return smooth
