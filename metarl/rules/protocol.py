"""Drift functions: the penalty in a mirror-learning policy objective.

The learner maximizes `mean(ratio * advantage - drift)`. A valid drift is non-negative, and zero
with zero gradient at ratio 1 (Kuba et al. 2022, arXiv:2201.02373).
"""

from collections.abc import Callable
from dataclasses import dataclass

from metarl.core.types import Array, Key, Theta


@dataclass(frozen=True)
class Drift:
    """A drift function, handcrafted or learned.

    Attributes:
      name: name of the drift.
      init: `key -> theta`, the initial meta-parameters; `()` for a handcrafted drift.
      apply: `(theta, ratio, advantage, progress) -> drift`, elementwise over `ratio` and
        `advantage` (same shape); `progress` is the fraction of the lifetime that has passed, a
        scalar in [0, 1].
    """

    name: str
    init: Callable[[Key], Theta]
    apply: Callable[[Theta, Array, Array, Array], Array]
