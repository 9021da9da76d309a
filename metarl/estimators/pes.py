"""Persistent evolution strategies: truncated lives, and no bias."""

from dataclasses import dataclass
from typing import ClassVar

from metarl.estimators.paired_lives import NoisePolicy, PairedLives


@dataclass(frozen=True)
class PES(PairedLives):
    """Members of a pair live on apart, and all noise they lived with is credited.

    In part w of a life, `(L_plus - L_minus) / (2 sigma) * (eps_1 + ... + eps_w)`. Summed over a
    life this is an unbiased estimate of the gradient of its total meta-loss, smoothed by noise that
    is drawn anew in each part: L_w depends on `theta_1, ..., theta_w`, one for each part; its
    gradient with respect to each is `E[L_w eps_j] / sigma`, and since all are theta, these add up.
    Noise of later parts is independent of L_w and needs no credit. (While theta moves, lives were
    begun under an older theta, and this holds up to that lag.)

    The price is variance, which grows with age. On a linear meta-loss, `c . theta` in each part, a
    pair's estimate in part w has mean `c_i` and variance `w |c|^2 + c_i^2` in coordinate i: with
    `a = c . eps_w` and `xi = eps_1 + ... + eps_w`, the second moment `E[a^2 xi_i^2]` is
    `E[a^2 eps_wi^2] + (w - 1) |c|^2 = |c|^2 + 2 c_i^2 + (w - 1) |c|^2`. A whole life of W parts
    sums to mean `W c_i` and variance `W (W + 1) / 2 |c|^2 + W c_i^2`, where `NoiseReuseES` has
    `W^2 (|c|^2 + c_i^2)`: at each outer step PES is the noisier one; over a whole life, or wherever
    an outer optimizer averages over as many steps, it need not be.

    Memory: `2 N M` states and `N M` sums of the size of theta, whatever the lifetime; the noise is
    made again from keys, and sums too could be, but for an effort that grows with age.

    Reference: Vicol, Metz and Sohl-Dickstein 2021, arXiv:2112.13835, algorithm 2.
    """

    policy: ClassVar[NoisePolicy] = NoisePolicy(fresh=True, accumulated=True, joined=False)
