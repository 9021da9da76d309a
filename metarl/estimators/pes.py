"""Persistent evolution strategies: unbiased on truncated unrolls."""

from dataclasses import dataclass
from typing import ClassVar

from metarl.estimators.antithetic import AntitheticTruncatedES, NoisePolicy


@dataclass(frozen=True)
class PES(AntitheticTruncatedES):
    """PES: new noise in every window, weighted by the sum of all noise since the unroll began.

    Each member continues from its own state. The estimate in window w is
    `(L_plus - L_minus) / (2 sigma) * (eps_1 + ... + eps_w)`. Summed over an unroll, it is an
    unbiased estimate of the gradient of the total meta-loss, smoothed by noise that is resampled in
    each window. L_w depends on `theta_1, ..., theta_w`, one for each window. Its gradient with
    respect to theta_j is `E[L_w eps_j] / sigma`; since all are theta, these add up. Noise of later
    windows is independent of L_w and is left out. (While theta moves, unrolls were started under an
    older theta, and this holds up to that lag.)

    The variance grows with age. On a linear meta-loss, `c . theta` in each window, a pair's
    estimate in window w has mean `c_i` and variance `w |c|^2 + c_i^2` in coordinate i: with
    `a = c . eps_w` and `xi = eps_1 + ... + eps_w`, the second moment `E[a^2 xi_i^2]` is
    `E[a^2 eps_wi^2] + (w - 1) |c|^2 = |c|^2 + 2 c_i^2 + (w - 1) |c|^2`. A whole unroll of W windows
    sums to mean `W c_i` and variance `W (W + 1) / 2 |c|^2 + W c_i^2`, where `NoiseReuseES` has
    `W^2 (|c|^2 + c_i^2)`. So PES has the higher variance at one outer step, but not necessarily
    over a whole unroll, or where an outer optimizer averages over as many steps.

    Memory: `2 N M` states and `N M` noise sums of the size of theta, whatever the lifetime. Noise
    is recomputed from keys. The sums could be recomputed too, at a cost that grows with age.

    Reference: Vicol, Metz and Sohl-Dickstein 2021, arXiv:2112.13835, algorithm 2.
    """

    policy: ClassVar[NoisePolicy] = NoisePolicy(resample=True, accumulate=True, shared_state=False)
