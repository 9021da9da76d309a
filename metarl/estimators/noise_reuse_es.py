"""Noise-reuse evolution strategies: truncated lives, no bias, and a variance that does not grow."""

from dataclasses import dataclass
from typing import ClassVar

from metarl.estimators.paired_lives import NoisePolicy, PairedLives


@dataclass(frozen=True)
class NoiseReuseES(PairedLives):
    """Members of a pair live on apart, all their life under one perturbation.

    In part w of a life, `(L_plus - L_minus) / (2 sigma) * eps`. Summed over a life this is full
    evolution strategies on its total meta-loss, measured part by part: unbiased for the gradient of
    that loss, smoothed by one draw for the whole life. (While theta moves, so does the middle of a
    pair; each part then is measured at its own theta, and earlier parts had older ones.)

    On a linear meta-loss, `c . theta` in each part, a pair's estimate has mean `c_i` and variance
    `|c|^2 + c_i^2` in coordinate i at every age. But estimates of one life share their noise and so
    do not average out: N lives explore N directions until they end (see `PES`).

    Memory: `2 N M` states and one key a pair.

    Reference: Li et al. 2023, arXiv:2304.12180.
    """

    policy: ClassVar[NoisePolicy] = NoisePolicy(fresh=False, accumulated=False, joined=False)
