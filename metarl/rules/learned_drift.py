"""Learned drift of learned policy optimization (LPO, TA-LPO): a small network without biases.

Without biases the output is zero at ratio 1 for any weights. A rectifier with a margin makes the
drift non-negative, with zero gradient at ratio 1. So every theta is a valid mirror-learning drift.
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp

from metarl.core.errors import check_positive, check_range
from metarl.core.keys import named
from metarl.core.types import Array, Key, Theta
from metarl.rules.drifts import ppo_clip_drift, safe_log_ratio
from metarl.rules.protocol import Drift

DRIFT_MARGIN = 1e-4
"""Margin subtracted from the output before rectifying, so that the drift is flat near ratio 1."""

FEATURES = 8
"""Number of inputs of the network."""

LARGEST_RATIO = 1e10
"""Upper bound of the ratio in `1 - r`; beyond it the feature is constant, with zero gradient."""

LARGEST_ADVANTAGE = 1e10
"""Bound of the advantage's magnitude in the features."""


@dataclass(frozen=True)
class LearnedDriftConfig:
    """Architecture and initialization of a learned drift.

    Attributes:
      hidden: width H of the hidden layer.
      ppo_init: whether the network output is added to PPO's clip drift (a zero network is then
        PPO, up to the margin); otherwise a zero network is the zero drift.
      epsilon: clipping range of PPO's clip drift.
      init_std: standard deviation of the initial first layer; the last layer starts at zero.
      temporal: whether the drift depends on the fraction of the lifetime passed (TA-LPO).
    """

    hidden: int = 128
    ppo_init: bool = False
    epsilon: float = 0.2
    init_std: float = 0.5
    temporal: bool = False

    def __post_init__(self) -> None:
        check_positive(hidden=self.hidden, epsilon=self.epsilon, init_std=self.init_std)
        check_range(0.0, 1.0, epsilon=self.epsilon)

    @property
    def shapes(self) -> dict[str, tuple[int, int]]:
        """Shapes of the arrays of theta, by name."""
        inputs = 2 * FEATURES if self.temporal else FEATURES
        return {"first": (inputs, self.hidden), "last": (self.hidden, 1)}


def drift_features(ratio: Array, advantage: Array) -> Array:
    """Returns the network inputs: `d = [l, l^2, 1 - r, (1 - r)^2]` and `A d`, with `l = log r`.

    The ratio is clipped to `LARGEST_RATIO` in `1 - r`, the magnitude of the advantage to
    `LARGEST_ADVANTAGE` in `A d`; `l` is constant below ratio 1e-30. No feature exceeds 1e30, so
    neither weighted sums of features nor their gradients overflow for weights up to 1e6. Without
    the bounds, `(1 - r)^2` overflows from ratio 2e19 on, and infinite features give NaN: in sums of
    both signs, and when multiplied by zero. A ratio above 1e10 needs a probability below 1e-10
    under the old policy.

    Args:
      ratio: probability ratio r, `[...]`.
      advantage: advantage A, same shape.

    Returns:
      Features `[..., 8]`, all zero at ratio 1.

    Reference: Lu et al. 2022, arXiv:2210.05639, section 4.
    """
    advantage = jnp.clip(advantage, -LARGEST_ADVANTAGE, LARGEST_ADVANTAGE)
    log_ratio = safe_log_ratio(ratio)
    # The logarithm keeps the unclipped ratio: sharing one clipped ratio would change the order in
    # which gradients are added, and so their last bits at ordinary ratios.
    gap = 1.0 - jnp.minimum(ratio, LARGEST_RATIO)
    plain = jnp.stack([log_ratio, log_ratio**2, gap, gap**2], axis=-1)
    return jnp.concatenate([plain, advantage[..., None] * plain], axis=-1)


def learned_drift_value(
    config: LearnedDriftConfig,
    theta: Theta,
    ratio: Array,
    advantage: Array,
    progress: Array | float = 0.0,
) -> Array:
    """Returns a learned drift, elementwise.

    The drift is `relu(f - margin)`, or `relu(ppo_clip_drift + f - margin)`, with `f = tanh(x W1)
    W2`. The input of a temporal drift is `[x, n/N x]`, which is zero at ratio 1 too.

    Args:
      config: architecture.
      theta: parameters, `{"first": [8 or 16, H], "last": [H, 1]}`.
      ratio: probability ratio r, `[...]`.
      advantage: advantage A, same shape.
      progress: n/N, fraction of the lifetime that has passed, a scalar in [0, 1].

    Reference: Lu et al. 2022, arXiv:2210.05639; Jackson et al. 2024, arXiv:2402.05828, eq. 10.
    """
    features = drift_features(ratio, advantage)
    if config.temporal:
        features = jnp.concatenate([features, progress * features], axis=-1)
    hidden = jnp.tanh(features @ theta["first"])
    output = (hidden @ theta["last"])[..., 0] - DRIFT_MARGIN
    if config.ppo_init:
        output = output + ppo_clip_drift(ratio, advantage, config.epsilon)
    return jax.nn.relu(output)


def learned_drift(config: LearnedDriftConfig | None = None, name: str = "lpo") -> Drift:
    """Makes the drift whose theta is a network.

    The last layer starts at zero, the first does not: with both at zero, no small change of theta
    changes the drift, and evolution strategies get no signal.

    Args:
      config: architecture; None = the default one.
      name: name of the drift.
    """
    config = LearnedDriftConfig() if config is None else config

    def init(key: Key) -> Theta:
        first = jax.random.normal(named(key, "first"), config.shapes["first"], jnp.float32)
        return {
            "first": config.init_std * first,
            "last": jnp.zeros(config.shapes["last"], jnp.float32),
        }

    def apply(theta: Theta, ratio: Array, advantage: Array, progress: Array) -> Array:
        return learned_drift_value(config, theta, ratio, advantage, progress)

    return Drift(name, init, apply)
