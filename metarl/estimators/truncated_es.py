"""Truncated evolution strategies: cheap, calm, and blind beyond a part."""

from dataclasses import dataclass
from typing import ClassVar

from metarl.estimators.paired_lives import NoisePolicy, PairedLives


@dataclass(frozen=True)
class TruncatedES(PairedLives):
    """Both members of a pair start every part from one state, with new noise.

    The gradient of a part's meta-loss with respect to the theta of that part alone, smoothed. What
    earlier parts did to the state is taken as given: the bias of truncated backpropagation (Wu et
    al. 2018, arXiv:1803.02021), without its gradients that explode. The positive member's state is
    carried on, as is usual, so that lives are lived under thetas that are slightly noisy.

    On a linear meta-loss, `c . theta` in each part, a pair's estimate has mean `c_i` and variance
    `|c|^2 + c_i^2` in coordinate i, whatever the age.

    Memory: `N M` states and nothing else; the noise is made again from keys.

    Reference: the baseline of Vicol et al. 2021, arXiv:2112.13835, section 2.
    """

    policy: ClassVar[NoisePolicy] = NoisePolicy(fresh=True, accumulated=False, joined=True)
