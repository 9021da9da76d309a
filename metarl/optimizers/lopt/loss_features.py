"""Loss features of VeLO: ratios of exponential moving averages of the training loss.

There are ten averages with increasing horizons. A ratio of 1 to the next slower average indicates a
plateau; an average at its own minimum indicates a falling loss.
"""

from typing import NamedTuple

import jax.numpy as jnp

from metarl.core.errors import ConfigError
from metarl.core.types import Array
from metarl.optimizers.protocol import Steps

MEANS = 10
"""Number of moving averages; each pair of neighbors gives one feature."""

FEATURES = MEANS - 1
"""Number of features."""

SHORTEST = 10.0
"""Horizon of the fastest average, in steps."""

_START_MINIMUM = 1e12
_LEAST_RANGE = 1e-8
_WARMUP_LOSSES = 2


class LossBuffer(NamedTuple):
    """Moving averages of the loss, float32.

    Attributes:
      means: averages `[10]`, initialized at zero, without bias correction.
      minima: minimum of each bias-corrected average so far, `[10]`.
      observed: number of losses so far, an integer scalar.
    """

    means: Array
    minima: Array
    observed: Array


def init_loss_buffer() -> LossBuffer:
    """Returns the initial buffer."""
    return LossBuffer(
        jnp.zeros(MEANS, jnp.float32),
        jnp.full(MEANS, _START_MINIMUM, jnp.float32),
        jnp.zeros((), jnp.int32),
    )


def loss_rates(num_steps: Steps) -> Array:
    """Returns the inverse horizon of each average, `[10]`, log-spaced from 10 to `num_steps`.

    The decay of an average is `exp(-rate)`.

    Args:
      num_steps: number of updates N, at least 1. VeLO's published small-scale weights use 10, so
        that all averages are equal.
    """
    longest = jnp.log10(jnp.asarray(num_steps, jnp.float32))
    exponents = jnp.log10(SHORTEST) + (longest - jnp.log10(SHORTEST)) * jnp.linspace(0, 1, MEANS)
    return 10.0**-exponents


def observe(buffer: LossBuffer, loss: Array, rates: Array) -> LossBuffer:
    """Adds a loss, clipped to twice the largest average.

    The clipping bound uses the bias correction after this loss, as published; so the second loss is
    clipped to 1.05 times the first. A non-finite loss counts as the bound; as a first loss it is
    skipped.

    Args:
      buffer: averages before this loss.
      loss: scalar loss.
      rates: inverse horizons from `loss_rates`.
    """
    one_minus_decay = -jnp.expm1(-rates)  # 1 - decay, exact for decays near 1
    bias_correction = -jnp.expm1(-rates * (buffer.observed + 1))
    loss = jnp.asarray(loss, jnp.float32)
    limit = 2.0 * jnp.abs(jnp.max(buffer.means / bias_correction))
    finite = jnp.isfinite(loss)
    clipped = jnp.where(finite, jnp.minimum(limit, loss), limit)
    clipped = jnp.where(buffer.observed == 0, loss, clipped)
    means = buffer.means + (clipped - buffer.means) * one_minus_decay
    minima = jnp.minimum(buffer.minima, means / bias_correction)
    skip = (buffer.observed == 0) & ~finite
    return LossBuffer(
        jnp.where(skip, buffer.means, means),
        jnp.where(skip, buffer.minima, minima),
        buffer.observed + jnp.where(skip, 0, 1),
    )


def loss_features(buffer: LossBuffer, rates: Array) -> Array:
    """Computes `clip((a_i - l_i) / (a_(i+1) - l_i) - 1, -1, 1)`, `[9]`.

    `a` are the bias-corrected averages, `l` their minima; the denominator is at least 1e-8. The
    features are zero before the third loss. An average within rounding of its minimum counts as
    equal to it, since the denominator may be as small as the rounding error.
    """
    bias_correction = -jnp.expm1(-rates * jnp.maximum(buffer.observed, 1))
    corrected = buffer.means / bias_correction
    quick, slow, least = corrected[:-1], corrected[1:], buffer.minima[:-1]
    rounding = 4 * jnp.finfo(quick.dtype).eps * jnp.abs(least)
    above = jnp.where(quick - least > rounding, quick - least, 0.0)
    compared = above / jnp.maximum(slow - least, _LEAST_RANGE) - 1.0
    return jnp.where(buffer.observed <= _WARMUP_LOSSES, 0.0, jnp.clip(compared, -1.0, 1.0))


def check_loss(name: str, value: Array | float | None) -> Array:
    """Returns the loss of an update as a float32 scalar.

    Args:
      name: name of the optimizer, for errors.
      value: argument `value` of its `update`.

    Raises:
      ConfigError: it is missing, not a scalar, or not a number.
    """
    if value is None:
        raise ConfigError(
            f"update of {name} lacks the argument value, the loss whose gradient this is: "
            "tx.update(gradients, state, params, value=loss)."
        )
    shape = jnp.shape(value)
    if shape != ():
        raise ConfigError(f"value must be a scalar loss, got an array of shape {shape}.")
    return jnp.asarray(value).astype(jnp.float32)


def check_num_steps(name: str, num_steps: Steps | None) -> Steps:
    """Returns the number of updates of a training run.

    Args:
      name: name of the optimizer, for errors.
      num_steps: number of updates: an int, or an integer scalar array, returned unchanged.

    Raises:
      ConfigError: it is missing, below 1, or not an integer.
    """
    if num_steps is None:
        raise ConfigError(f"{name} needs num_steps, the number of updates of the whole training.")
    shape, dtype = jnp.shape(num_steps), jnp.result_type(num_steps)
    if shape != () or not jnp.issubdtype(dtype, jnp.integer):
        raise ConfigError(f"num_steps of {name} must be an integer, got {dtype} of shape {shape}.")
    if isinstance(num_steps, int) and num_steps < 1:
        raise ConfigError(f"num_steps of {name} must be at least 1, got {num_steps}.")
    return num_steps
