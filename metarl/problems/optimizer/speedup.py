"""The speed-up score: how many updates the best tuned baseline needs to get where you are.

`s = T(L) / n`, where L is the loss reached after n updates and T(L) the updates after which the
envelope of the baselines reaches it. Above 1 is faster than every baseline at its best learning
rate. It cannot leave `[first / n, last / n]`, the ends of the envelope; how often it stands at one
of them is part of the score.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from metarl.core.errors import ConfigError, check_positive
from metarl.problems.optimizer.envelope import Envelope


class Speedups(NamedTuple):
    """Speed-ups and whether they are exact.

    Attributes:
      values: of any shape; 0 where training diverged.
      below: where the loss is lower than the envelope's last: the value is a lower bound.
      above: where it is higher than the envelope's first, or not finite.
    """

    values: np.ndarray
    below: np.ndarray
    above: np.ndarray

    @property
    def saturated(self) -> int:
        """How many stand at an end of the envelope."""
        return int(np.sum(self.below | self.above))


def speedups(envelope: Envelope, losses: ArrayLike, steps: ArrayLike) -> Speedups:
    """Scores losses against an envelope.

    Args:
      envelope: of the baselines, on the same task and of the same kind of loss.
      losses: reached, any shape.
      steps: updates that it took, at least one; broadcasts against the losses.

    Raises:
      ConfigError: a number of updates below one.
    """
    reached, taken = np.asarray(losses, np.float64), np.asarray(steps, np.float64)
    check_positive(steps=float(taken.min(initial=np.inf)) if taken.size else None)
    values = envelope.steps_to(reached) / taken
    finite = np.isfinite(reached)
    return Speedups(
        values=np.where(finite, values, 0.0),
        below=finite & (reached < envelope.losses[-1]),
        above=~finite | (reached > envelope.losses[0]),
    )


def task_speedups(
    envelopes: Sequence[Envelope], losses: Sequence[ArrayLike], steps: ArrayLike
) -> Speedups:
    """Scores the losses of each task against its own envelope; stacks along the first axis.

    Raises:
      ConfigError: another number of tasks than of envelopes.
    """
    if len(envelopes) != len(losses) or not len(envelopes):
        raise ConfigError(f"{len(losses)} tasks against {len(envelopes)} envelopes.")
    found = [speedups(e, x, steps) for e, x in zip(envelopes, losses, strict=True)]
    return Speedups(*(np.stack(parts) for parts in zip(*found, strict=True)))
