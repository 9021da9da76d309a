"""Truncated evolution strategies: low variance, biased by truncation."""

from dataclasses import dataclass
from typing import ClassVar

from metarl.estimators.antithetic import AntitheticTruncatedES, NoisePolicy


@dataclass(frozen=True)
class TruncatedES(AntitheticTruncatedES):
    """Truncated ES: both members of a pair start every window from one state, with new noise.

    Estimates the smoothed gradient of a window's meta-loss with respect to the theta of that window
    alone. The effect of earlier windows on the state is treated as constant: the bias is that of
    truncated backpropagation (Wu et al. 2018, arXiv:1803.02021), without its exploding gradients.
    Both members continue from the positive member's state, as is usual, so that unrolls run under
    slightly perturbed thetas.

    On a linear meta-loss, `c . theta` in each window, a pair's estimate has mean `c_i` and variance
    `|c|^2 + c_i^2` in coordinate i, whatever the age.

    Memory: `N M` states; noise is recomputed from keys.

    Reference: the baseline of Vicol et al. 2021, arXiv:2112.13835, section 2.
    """

    policy: ClassVar[NoisePolicy] = NoisePolicy(resample=True, accumulate=False, shared_state=True)
