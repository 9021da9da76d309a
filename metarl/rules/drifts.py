"""Drift functions that people wrote down: PPO's clip, DPO, mirror descent's KL, none.

A drift is subtracted from `ratio * advantage`, with `ratio = pi(a|s) / pi_old(a|s)`. Every one here
is elementwise, non-negative, and zero with zero gradient at ratio 1 (mirror learning, Kuba et al.
2022, arXiv:2201.02373). The functions are plain JAX and usable in any loss; the `Drift`s wrap them
for this library's learners.
"""

import jax
import jax.numpy as jnp

from metarl.core.errors import check_positive, check_range
from metarl.core.types import Array, Theta
from metarl.rules.protocol import Drift

SMALLEST_RATIO = 1e-30
"""Below this a ratio's logarithm is that of this number, with zero gradient."""

LARGEST_KL_RATIO = 1e30
"""Beyond this `kl_drift` is constant, since `r log r` overflows in float32 before `r` does."""


def safe_log_ratio(ratio: Array) -> Array:
    """Logarithm of a probability ratio, finite with a finite gradient down to ratio 0."""
    # Selected before the logarithm: a mask behind it would be 0 times an incoming gradient, which
    # is NaN where that gradient has overflowed. NaN compares false and so stays NaN.
    return jnp.log(jnp.where(ratio < SMALLEST_RATIO, SMALLEST_RATIO, ratio))


def no_drift(ratio: Array, advantage: Array) -> Array:
    """Zero everywhere: the plain importance-weighted policy gradient."""
    del advantage
    return jnp.zeros_like(ratio)


def ppo_clip_drift(ratio: Array, advantage: Array, epsilon: float = 0.2) -> Array:
    """PPO's clipped surrogate, written as a drift: `relu((r - clip(r, 1 - e, 1 + e)) A)`.

    `r A` minus it is `min(r A, clip(r, 1 - e, 1 + e) A)`.

    Args:
      ratio: `[...]`.
      advantage: same shape.
      epsilon: half-width of the trusted interval.

    Reference: Schulman et al. 2017, arXiv:1707.06347, eq. 7.
    """
    return jax.nn.relu((ratio - jnp.clip(ratio, 1.0 - epsilon, 1.0 + epsilon)) * advantage)


def dpo_drift(ratio: Array, advantage: Array, alpha: float = 2.0, beta: float = 0.6) -> Array:
    """The drift of discovered policy optimisation.

    `relu((r - 1) A - alpha tanh((r - 1) A / alpha))` where `A >= 0`, and
    `relu(log(r) A - beta tanh(log(r) A / beta))` where `A < 0`.

    Args:
      ratio: `[...]`.
      advantage: same shape.
      alpha: scale at which increases of good actions start to be held back.
      beta: scale at which decreases of bad actions start to be held back.

    Where `A < 0` the slope is `A / r`: the gradient overflows in float32, to an infinity and never
    to NaN, where `|A| / r` exceeds 3e38. With `|A| <= 1e8` that is at no ratio, since `log r` is
    constant below `SMALLEST_RATIO`.

    Reference: Lu et al. 2022, arXiv:2210.05639, section 5.
    """
    scale = jnp.where(advantage >= 0, alpha, beta)
    step = jnp.where(advantage >= 0, ratio - 1.0, safe_log_ratio(ratio)) * advantage
    return jax.nn.relu(step - scale * jnp.tanh(step / scale))


def kl_drift(ratio: Array, coefficient: float | Array) -> Array:
    """`coefficient (r log r - r + 1)`: estimates KL(new || old) from samples of the old policy.

    Its expectation under the old policy is `coefficient` times the divergence, and every single
    term is non-negative.

    Args:
      ratio: `[...]`.
      coefficient: weight of the divergence, such as the inverse step size of mirror descent.

    The ratio is held at `LARGEST_KL_RATIO` from above, with zero gradient beyond it: the drift is
    finite for every ratio and every coefficient up to 1e6.
    """
    ratio = jnp.minimum(ratio, LARGEST_KL_RATIO)
    log_ratio = safe_log_ratio(ratio)
    # r - 1 is spelt expm1(log r): near r = 1 the two terms cancel, and this keeps the digits.
    return coefficient * jax.nn.relu(ratio * log_ratio - jnp.expm1(log_ratio))


def _no_theta(key: Array) -> Theta:
    del key
    return ()


def none() -> Drift:
    """The rule without a drift."""

    def apply(theta: Theta, ratio: Array, advantage: Array, progress: Array) -> Array:
        del theta, progress
        return no_drift(ratio, advantage)

    return Drift("none", _no_theta, apply)


def ppo(epsilon: float = 0.2) -> Drift:
    """Proximal policy optimisation; see `ppo_clip_drift`.

    Raises:
      ConfigError: `epsilon` is not in (0, 1].
    """
    check_positive(epsilon=epsilon)
    check_range(0.0, 1.0, epsilon=epsilon)

    def apply(theta: Theta, ratio: Array, advantage: Array, progress: Array) -> Array:
        del theta, progress
        return ppo_clip_drift(ratio, advantage, epsilon)

    return Drift("ppo", _no_theta, apply)


def dpo(alpha: float = 2.0, beta: float = 0.6) -> Drift:
    """Discovered policy optimisation; see `dpo_drift`.

    Raises:
      ConfigError: a scale is not positive.
    """
    check_positive(alpha=alpha, beta=beta)

    def apply(theta: Theta, ratio: Array, advantage: Array, progress: Array) -> Array:
        del theta, progress
        return dpo_drift(ratio, advantage, alpha, beta)

    return Drift("dpo", _no_theta, apply)


def mdpo(initial_step_size: float = 1.0, smallest_step_size: float = 0.01) -> Drift:
    """On-policy mirror descent policy optimisation: `kl_drift` with coefficient `1 / t_k`.

    The step size `t_k` falls linearly from its initial value to 0 over the lifetime, and is held at
    `smallest_step_size` from below so that the coefficient stays finite.

    Args:
      initial_step_size: `t_0`.
      smallest_step_size: floor of `t_k`; at most `initial_step_size`.

    Raises:
      ConfigError: a step size is not positive, or the floor lies above the start.

    Reference: Tomar et al. 2020, arXiv:2005.09814, eq. 9 and section 5.1.
    """
    check_positive(initial_step_size=initial_step_size, smallest_step_size=smallest_step_size)
    check_range(0.0, initial_step_size, smallest_step_size=smallest_step_size)

    def apply(theta: Theta, ratio: Array, advantage: Array, progress: Array) -> Array:
        del theta, advantage
        step_size = jnp.maximum(initial_step_size * (1.0 - progress), smallest_step_size)
        return kl_drift(ratio, 1.0 / step_size)

    return Drift("mdpo", _no_theta, apply)
