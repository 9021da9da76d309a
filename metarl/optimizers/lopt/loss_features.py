"""What a learned optimizer is told of the training loss: how several running means of it compare.

Each of ten means forgets more slowly than the one before. A mean that is as large as its slower
neighbour says that training stands still; one that is at its own minimum, that it goes down.
"""

from typing import NamedTuple

import jax.numpy as jnp

from metarl.core.errors import ConfigError
from metarl.core.types import Array
from metarl.optimizers.protocol import Steps

MEANS = 10
"""How many running means there are; neighbours make one feature."""

FEATURES = MEANS - 1
"""How many features."""

SHORTEST = 10.0
"""Steps that the quickest mean remembers."""

_START_MINIMUM = 1e12
_LEAST_RANGE = 1e-8
_SILENT = 2


class LossBuffer(NamedTuple):
    """Memory of the loss, float32.

    Attributes:
      means: `[10]`, started at zero and not corrected for it.
      minima: smallest value that each corrected mean has had, `[10]`.
      observed: losses seen, an integer scalar.
    """

    means: Array
    minima: Array
    observed: Array


def init_loss_buffer() -> LossBuffer:
    """Makes a buffer that has seen no loss."""
    return LossBuffer(
        jnp.zeros(MEANS, jnp.float32),
        jnp.full(MEANS, _START_MINIMUM, jnp.float32),
        jnp.zeros((), jnp.int32),
    )


def loss_rates(num_steps: Steps) -> Array:
    """One over the steps that each mean remembers, `[10]`, logarithmic from 10 to `num_steps`.

    A mean's decay is `exp(-rate)`.

    Args:
      num_steps: N, at least 1. The released small-scale weights of VeLO have 10, so that all means
        are one.
    """
    longest = jnp.log10(jnp.asarray(num_steps, jnp.float32))
    exponents = jnp.log10(SHORTEST) + (longest - jnp.log10(SHORTEST)) * jnp.linspace(0, 1, MEANS)
    return 10.0**-exponents


def observe(buffer: LossBuffer, loss: Array, rates: Array) -> LossBuffer:
    """Adds a loss, cut off at twice the largest mean.

    For that cut the means are corrected as if this loss were in them already, as published: so a
    second loss counts up to 1.05 times the first. A loss that is not finite counts as one at the
    cut; while there is no mean yet it is left out.

    Args:
      buffer: what was seen so far.
      loss: scalar.
      rates: from `loss_rates`.
    """
    forgotten = -jnp.expm1(-rates)  # 1 - decay, exact for decays near 1
    remembered = -jnp.expm1(-rates * (buffer.observed + 1))
    loss = jnp.asarray(loss, jnp.float32)
    cut = 2.0 * jnp.abs(jnp.max(buffer.means / remembered))
    finite = jnp.isfinite(loss)
    seen = jnp.where(finite, jnp.minimum(cut, loss), cut)
    seen = jnp.where(buffer.observed == 0, loss, seen)
    means = buffer.means + (seen - buffer.means) * forgotten
    minima = jnp.minimum(buffer.minima, means / remembered)
    skip = (buffer.observed == 0) & ~finite
    return LossBuffer(
        jnp.where(skip, buffer.means, means),
        jnp.where(skip, buffer.minima, minima),
        buffer.observed + jnp.where(skip, 0, 1),
    )


def loss_features(buffer: LossBuffer, rates: Array) -> Array:
    """Computes `clip((a_i - l_i) / (a_(i+1) - l_i) - 1, -1, 1)`, `[9]`.

    `a` are the corrected means, `l` their minima; the denominator is at least 1e-8. Zero until a
    third loss was seen. A mean that is its own minimum but for rounding counts as that: the
    denominator may be as small as the rounding.
    """
    remembered = -jnp.expm1(-rates * jnp.maximum(buffer.observed, 1))
    corrected = buffer.means / remembered
    quick, slow, least = corrected[:-1], corrected[1:], buffer.minima[:-1]
    rounding = 4 * jnp.finfo(quick.dtype).eps * jnp.abs(least)
    above = jnp.where(quick - least > rounding, quick - least, 0.0)
    compared = above / jnp.maximum(slow - least, _LEAST_RANGE) - 1.0
    return jnp.where(buffer.observed <= _SILENT, 0.0, jnp.clip(compared, -1.0, 1.0))


def check_loss(name: str, value: Array | float | None) -> Array:
    """Returns the loss of an update as a float32 scalar.

    Args:
      name: of the optimizer that needs it.
      value: what its `update` was given.

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
      name: of the optimizer that needs it.
      num_steps: a number, or an integer scalar array, which is taken as it is.

    Raises:
      ConfigError: it is missing, below 1, or not a whole number.
    """
    if num_steps is None:
        raise ConfigError(f"{name} needs num_steps, how many updates the whole training has.")
    shape, dtype = jnp.shape(num_steps), jnp.result_type(num_steps)
    if shape != () or not jnp.issubdtype(dtype, jnp.integer):
        raise ConfigError(
            f"num_steps of {name} must be a whole number, got {dtype} of shape {shape}."
        )
    if isinstance(num_steps, int) and num_steps < 1:
        raise ConfigError(f"num_steps of {name} must be at least 1, got {num_steps}.")
    return num_steps
