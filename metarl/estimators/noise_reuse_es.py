"""Noise-reuse evolution strategies: unbiased on truncated unrolls, variance constant in age."""

from dataclasses import dataclass
from typing import ClassVar

from metarl.estimators.antithetic import AntitheticTruncatedES, NoisePolicy


@dataclass(frozen=True)
class NoiseReuseES(AntitheticTruncatedES):
    """Noise-reuse ES: one perturbation for a whole unroll; each member continues from its state.

    The estimate in window w is `(L_plus - L_minus) / (2 sigma) * eps`. Summed over an unroll, this
    is full evolution strategies on its total meta-loss, measured window by window. It is unbiased
    for the gradient of that loss, smoothed by one perturbation for the whole unroll. (While theta
    moves, the center of a pair moves with it: each window is measured at its own theta.)

    On a linear meta-loss, `c . theta` in each window, a pair's estimate has mean `c_i` and variance
    `|c|^2 + c_i^2` in coordinate i at every age. Estimates of one unroll share their noise and so
    do not average out: N unrolls explore N directions until they end (see `PES`).

    Memory: `2 N M` states and one key for each pair.

    Reference: Li et al. 2023, arXiv:2304.12180.
    """

    policy: ClassVar[NoisePolicy] = NoisePolicy(
        resample=False, accumulate=False, shared_state=False
    )
