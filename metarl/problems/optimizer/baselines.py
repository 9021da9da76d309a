"""Handcrafted optimizers to be tuned; theta is the learning rate, so a grid is one program."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

import jax.numpy as jnp
import optax

from metarl.core.errors import check_choice
from metarl.core.types import Array, Theta
from metarl.optimizers.parameters import ParameterInfo
from metarl.optimizers.protocol import InnerOptimizer, Steps

RATES = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1, 1.0)
"""Learning rates of a grid, half-decades."""

WEIGHT_DECAY, MOMENTUM = 1e-2, 0.9
"""Of AdamW and of SGD."""

CONSTANT = ("adam", "adamw", "sgd")
"""Baselines whose step does not depend on how long training will last: an envelope is made of
these, since one long training shows every shorter one."""


def _adam(rate: Array, steps: Steps) -> optax.GradientTransformation:
    del steps
    return optax.adam(rate)


def _adamw(rate: Array, steps: Steps) -> optax.GradientTransformation:
    del steps
    return optax.adamw(rate, weight_decay=WEIGHT_DECAY)


def _sgd(rate: Array, steps: Steps) -> optax.GradientTransformation:
    del steps
    return optax.sgd(rate, momentum=MOMENTUM)


def _adamw_cosine(rate: Array, steps: Steps) -> optax.GradientTransformation:
    def schedule(count: Array) -> Array:
        return rate * 0.5 * (1.0 + jnp.cos(jnp.pi * jnp.minimum(count / steps, 1.0)))

    return optax.adamw(schedule, weight_decay=WEIGHT_DECAY)


BASELINES: Mapping[str, Callable[[Array, Steps], optax.GradientTransformation]] = MappingProxyType(
    {"adam": _adam, "adamw": _adamw, "sgd": _sgd, "adamw-cosine": _adamw_cosine}
)
"""Name -> `(learning rate, number of updates) -> transformation`."""


def baseline(name: str) -> InnerOptimizer:
    """Makes a baseline; theta is its learning rate, a float32 scalar, at first 0.001.

    Raises:
      ConfigError: there is none of this name.
    """
    make = BASELINES[check_choice("baseline", name, BASELINES)]

    def transformation(
        theta: Theta, info: tuple[ParameterInfo, ...], num_steps: Steps
    ) -> optax.GradientTransformationExtraArgs:
        del info
        return optax.with_extra_args_support(make(theta, num_steps))

    return InnerOptimizer(name, lambda key: jnp.float32(1e-3), transformation)
