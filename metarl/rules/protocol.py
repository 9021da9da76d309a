"""What a policy-optimisation rule is: an open term of the actor-critic's surrogate.

The learner maximises `mean(ratio * advantage - drift)`. The drift is the rule (mirror learning,
Kuba et al. 2022): it must be non-negative, and zero with zero gradient at ratio 1.
"""

from collections.abc import Callable
from dataclasses import dataclass

from metarl.core.types import Array, Key, Theta


@dataclass(frozen=True)
class Rule:
    """A drift function, written down or learned.

    Attributes:
      name: how people call it.
      init: `key -> theta`, the meta-parameters; `()` for a rule that is written down.
      drift: `(theta, ratio, advantage, progress) -> drift`, elementwise over `ratio` and
        `advantage` (same shape); `progress` is the fraction of the lifetime that has passed, a
        scalar in [0, 1].
    """

    name: str
    init: Callable[[Key], Theta]
    drift: Callable[[Theta, Array, Array, Array], Array]
