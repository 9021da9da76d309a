"""Handcrafted drift functions: PPO's clip, DPO, the KL divergence of MDPO, and none.

A drift is subtracted from `ratio * advantage`, with `ratio = pi(a|s) / pi_old(a|s)`. Every drift in
this module is elementwise, non-negative, and zero with zero gradient at ratio 1 (mirror learning,
Kuba et al. 2022, arXiv:2201.02373). The functions are plain JAX and can be used in any loss; the
`Drift` objects wrap them for this library's learners.
"""

import jax
import jax.numpy as jnp

from metarl.core.errors import check_positive, check_range
from metarl.core.types import Array, Theta
from metarl.rules.protocol import Drift

SMALLEST_RATIO = 1e-30
"""Lower bound of the ratio in `safe_log_ratio`; the gradient is zero below it."""

LARGEST_KL_RATIO = 1e30
"""Upper bound of the ratio in `kl_drift`: `r log r` overflows in float32 before `r` does."""


def safe_log_ratio(ratio: Array) -> Array:
    """Returns the logarithm of a probability ratio; finite, with a finite gradient, at ratio 0."""
    # The `where` comes before the logarithm: a mask after it would multiply an overflowed gradient
    # by 0, which is NaN. NaN compares false and so stays NaN.
    return jnp.log(jnp.where(ratio < SMALLEST_RATIO, SMALLEST_RATIO, ratio))


def no_drift(ratio: Array, advantage: Array) -> Array:
    """Returns zeros: the importance-weighted policy gradient without a penalty."""
    del advantage
    return jnp.zeros_like(ratio)


def ppo_clip_drift(ratio: Array, advantage: Array, epsilon: float = 0.2) -> Array:
    """PPO's clipped surrogate as a drift: `relu((r - clip(r, 1 - e, 1 + e)) A)`.

    `r A` minus the drift is `min(r A, clip(r, 1 - e, 1 + e) A)`.

    Args:
      ratio: probability ratio r, `[...]`.
      advantage: advantage A, same shape.
      epsilon: half-width of the clipping interval.

    Reference: Schulman et al. 2017, arXiv:1707.06347, eq. 7.
    """
    return jax.nn.relu((ratio - jnp.clip(ratio, 1.0 - epsilon, 1.0 + epsilon)) * advantage)


def dpo_drift(ratio: Array, advantage: Array, alpha: float = 2.0, beta: float = 0.6) -> Array:
    """Drift of discovered policy optimization (DPO).

    `relu((r - 1) A - alpha tanh((r - 1) A / alpha))` where `A >= 0`, and
    `relu(log(r) A - beta tanh(log(r) A / beta))` where `A < 0`.

    Args:
      ratio: probability ratio r, `[...]`.
      advantage: advantage A, same shape.
      alpha: scale of the penalty where the advantage is non-negative.
      beta: scale of the penalty where the advantage is negative.

    Where `A < 0` the slope is `A / r`: the gradient overflows in float32 to an infinity, never to
    NaN, where `|A| / r` exceeds 3e38. With `|A| <= 1e8` it does not overflow at any ratio, since
    `log r` is constant below `SMALLEST_RATIO`.

    Reference: Lu et al. 2022, arXiv:2210.05639, section 5.
    """
    scale = jnp.where(advantage >= 0, alpha, beta)
    step = jnp.where(advantage >= 0, ratio - 1.0, safe_log_ratio(ratio)) * advantage
    return jax.nn.relu(step - scale * jnp.tanh(step / scale))


def kl_drift(ratio: Array, coefficient: float | Array) -> Array:
    """Single-sample estimate of KL(new || old): `coefficient (r log r - r + 1)`.

    Its expectation under the old policy is `coefficient` times the divergence. Every term is
    non-negative.

    Args:
      ratio: probability ratio r, `[...]`.
      coefficient: weight of the divergence, such as the inverse step size of mirror descent.

    The ratio is clipped to `LARGEST_KL_RATIO`, with zero gradient beyond it: the drift is
    finite for every ratio and every coefficient up to 1e6.
    """
    ratio = jnp.minimum(ratio, LARGEST_KL_RATIO)
    log_ratio = safe_log_ratio(ratio)
    # r - 1 is computed as expm1(log r): near r = 1 the two terms cancel, which costs precision.
    return coefficient * jax.nn.relu(ratio * log_ratio - jnp.expm1(log_ratio))


def _no_theta(key: Array) -> Theta:
    del key
    return ()


def none() -> Drift:
    """Makes the zero drift."""

    def apply(theta: Theta, ratio: Array, advantage: Array, progress: Array) -> Array:
        del theta, progress
        return no_drift(ratio, advantage)

    return Drift("none", _no_theta, apply)


def ppo(epsilon: float = 0.2) -> Drift:
    """Makes the drift of proximal policy optimization; see `ppo_clip_drift`.

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
    """Makes the drift of discovered policy optimization; see `dpo_drift`.

    Raises:
      ConfigError: a scale is not positive.
    """
    check_positive(alpha=alpha, beta=beta)

    def apply(theta: Theta, ratio: Array, advantage: Array, progress: Array) -> Array:
        del theta, progress
        return dpo_drift(ratio, advantage, alpha, beta)

    return Drift("dpo", _no_theta, apply)


def mdpo(initial_step_size: float = 1.0, smallest_step_size: float = 0.01) -> Drift:
    """Makes the drift of on-policy mirror descent policy optimization (MDPO).

    The drift is `kl_drift` with coefficient `1 / t_k`. The step size `t_k` decays linearly from its
    initial value to 0 over the lifetime; it is clipped to `smallest_step_size` from below so that
    the coefficient stays finite.

    Args:
      initial_step_size: initial step size `t_0`.
      smallest_step_size: lower bound of `t_k`; at most `initial_step_size`.

    Raises:
      ConfigError: a step size is not positive, or the lower bound exceeds the initial value.

    Reference: Tomar et al. 2020, arXiv:2005.09814, eq. 9 and section 5.1.
    """
    check_positive(initial_step_size=initial_step_size, smallest_step_size=smallest_step_size)
    check_range(0.0, initial_step_size, smallest_step_size=smallest_step_size)

    def apply(theta: Theta, ratio: Array, advantage: Array, progress: Array) -> Array:
        del theta, advantage
        step_size = jnp.maximum(initial_step_size * (1.0 - progress), smallest_step_size)
        return kl_drift(ratio, 1.0 / step_size)

    return Drift("mdpo", _no_theta, apply)
