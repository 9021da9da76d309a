"""The `InnerOptimizer` protocol: a function from theta to an optax transformation."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple, TypeAlias, TypeVar

import optax

from metarl.core.types import Array, Key, Theta
from metarl.optimizers.parameters import ParameterInfo

_Config = TypeVar("_Config")

Activity: TypeAlias = Mapping[str, Array]
"""Mean absolute activation `[H]` of the output units of each module, by the module's path."""


Steps: TypeAlias = int | Array
"""Number of updates of a lifetime: an int, or an integer scalar array of a sampled task."""


class UpdateContext(NamedTuple):
    """Extra arguments that a learner passes to `update`, beside gradient and parameters.

    Attributes:
      progress: `n / (N - 1)` in the n-th (from 0) of N updates of the lifetime, scalar in [0, 1].
      epoch_progress: `e / (E - 1)` in the e-th (from 0) of E epochs over a batch, scalar in [0, 1].
      key: random key for a stochastic optimizer.
      activity: mean absolute activations on the batch of this gradient; None = not measured.
      value: loss whose gradient this is, a scalar; None = not provided.
    """

    progress: Array
    epoch_progress: Array
    key: Key
    activity: Activity | None = None
    value: Array | None = None


@dataclass(frozen=True)
class InnerOptimizer:
    """An inner optimizer, learned or handcrafted.

    Attributes:
      name: display name.
      init: function `key -> theta` that draws the meta-parameters; `()` for a handcrafted one.
      transformation: function `(theta, info, num_steps) -> optax transformation`. The `update` of
        the transformation receives the fields of `UpdateContext` as keyword arguments. `info`
        describes the parameters leaf by leaf; `num_steps` is the number of updates of a lifetime.
      needs_activity: whether the learner must measure `activity`.
    """

    name: str
    init: Callable[[Key], Theta]
    transformation: Callable[
        [Theta, tuple[ParameterInfo, ...], Steps], optax.GradientTransformationExtraArgs
    ]
    needs_activity: bool = False


def from_optax(name: str, transformation: optax.GradientTransformation) -> InnerOptimizer:
    """Wraps an optax transformation without meta-parameters as an inner optimizer."""
    tx = optax.with_extra_args_support(transformation)
    return InnerOptimizer(name, lambda key: (), lambda theta, info, num_steps: tx)


def without_parameter_info(
    name: str,
    config: _Config,
    init: Callable[[_Config, Key], Theta],
    make: Callable[[Theta, _Config, Steps], optax.GradientTransformationExtraArgs],
) -> InnerOptimizer:
    """Returns the inner optimizer of an architecture that ignores `ParameterInfo`.

    Args:
      name: display name.
      config: config of the architecture.
      init: function `(config, key) -> theta`.
      make: function `(theta, config, num_steps) -> optax transformation`.
    """
    return InnerOptimizer(
        name,
        lambda key: init(config, key),
        lambda theta, info, num_steps: make(theta, config, num_steps),
    )


def with_horizon(optimizer: InnerOptimizer, num_steps: Steps | None) -> InnerOptimizer:
    """Conditions an optimizer on a fixed `num_steps`, as an ablation of the true horizon.

    None = the optimizer itself, conditioned on the true number of updates.
    """
    if num_steps is None:
        return optimizer
    return replace(
        optimizer,
        transformation=lambda theta, info, _: optimizer.transformation(theta, info, num_steps),
    )


def fixed(optimizer: InnerOptimizer, theta: Theta) -> InnerOptimizer:
    """Closes an optimizer over its theta, so that it has no meta-parameters."""
    return InnerOptimizer(
        optimizer.name,
        lambda key: (),
        lambda _, info, num_steps: optimizer.transformation(theta, info, num_steps),
        optimizer.needs_activity,
    )
