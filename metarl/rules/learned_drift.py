"""The learned drift of learnt policy optimisation (LPO, TA-LPO): a small network without biases.

Without biases it is zero at ratio 1 whatever its weights, and a rectifier with a margin
makes the drift non-negative with zero gradient there: every theta is a valid mirror-learning drift.
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
"""Subtracted from the network before rectifying, so that the drift is flat around ratio 1."""

FEATURES = 8
"""Number of inputs of the network."""

LARGEST_RATIO = 1e10
"""Bound of the ratio in `1 - r`: beyond it that feature is constant, with zero gradient."""

LARGEST_ADVANTAGE = 1e10
"""Bound of the advantage's magnitude in the features."""


@dataclass(frozen=True)
class LearnedDriftConfig:
    """Architecture and initialisation of a learned drift.

    Attributes:
      hidden: H, width of the only hidden layer.
      ppo_init: whether the network corrects PPO's clip drift (so that a zero network is PPO, up to
        the margin) or stands alone (a zero network is no drift).
      epsilon: of that clip drift.
      init_std: standard deviation of the first layer at the start; the last starts at zero.
      temporal: whether the drift may depend on the fraction of the lifetime passed (TA-LPO).
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
        """Shape of every array of theta."""
        inputs = 2 * FEATURES if self.temporal else FEATURES
        return {"first": (inputs, self.hidden), "last": (self.hidden, 1)}


def drift_features(ratio: Array, advantage: Array) -> Array:
    """Inputs of the network: `d = [l, l^2, 1 - r, (1 - r)^2]` and `A d`, with `l = log r`.

    In `1 - r` the ratio saturates at `LARGEST_RATIO`, in `A d` the advantage at `LARGEST_ADVANTAGE`
    in magnitude; `l` is constant below ratio 1e-30. No feature exceeds 1e30, so neither weighted
    sums of them nor their gradients overflow for weights up to 1e6. Without the bounds `(1 - r)^2`
    overflows from ratio 2e19 on, and infinite features give NaN: in sums of both signs, and times a
    weight, an advantage or a gradient of zero. A ratio above 1e10 needs a probability below 1e-10
    under the old policy.

    Args:
      ratio: `[...]`.
      advantage: same shape.

    Returns:
      `[..., 8]`, all zero at ratio 1.

    Reference: Lu et al. 2022, arXiv:2210.05639, section 4.
    """
    advantage = jnp.clip(advantage, -LARGEST_ADVANTAGE, LARGEST_ADVANTAGE)
    log_ratio = safe_log_ratio(ratio)
    # Not bounded above for the logarithm too: one bounded ratio for both would change the order in
    # which gradients are added, and so the last bits of gradients at ordinary ratios.
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
    """Evaluates a learned drift, elementwise.

    `relu(f - margin)`, or `relu(ppo_clip_drift + f - margin)`, with `f = tanh(x W1) W2`; a temporal
    one sees `[x, n/N x]`, which is zero at ratio 1 too.

    Args:
      config: its architecture.
      theta: `{"first": [8 or 16, H], "last": [H, 1]}`.
      ratio: `[...]`.
      advantage: same shape.
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
    """Makes the rule whose theta is a drift network.

    Its last layer starts at zero and its first does not: with both at zero no small change of theta
    changes the drift, and evolution finds no signal.

    Args:
      config: architecture; None = the default one.
      name: of the rule.
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
