"""What an optimizer of an inner learner is: a function from theta to an optax transformation."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple, TypeAlias

import optax

from metarl.core.types import Array, Key, Theta
from metarl.optimizers.parameters import ParameterInfo

Activity: TypeAlias = Mapping[str, Array]
"""Mean absolute activation `[H]` of the output units of each module, by the module's path."""


Steps: TypeAlias = int | Array
"""How many updates a lifetime has: a number, or an integer scalar of a sampled task."""


class UpdateContext(NamedTuple):
    """What a learner tells its optimizer beside the gradient: optax's keyword arguments.

    Attributes:
      progress: `n / (N - 1)` in the n-th (from 0) of N updates of the lifetime, scalar in [0, 1].
      epoch_progress: `e / (E - 1)` in the e-th (from 0) of E epochs over a batch, scalar in [0, 1].
      key: for an optimizer that is random.
      activity: on the batch of this gradient; None = not measured.
      value: the loss whose gradient this is, a scalar; None = not told.
    """

    progress: Array
    epoch_progress: Array
    key: Key
    activity: Activity | None = None
    value: Array | None = None


@dataclass(frozen=True)
class InnerOptimizer:
    """An optimizer, learned or written down.

    Attributes:
      name: how people call it.
      init: `key -> theta`, the meta-parameters; `()` for one that is written down.
      transformation: `(theta, info, num_steps) -> optax transformation`; its `update` is given the
        fields of `UpdateContext` as keyword arguments. `info` describes parameters leaf by leaf;
        `num_steps`, a number or an integer scalar, is how many updates a lifetime has.
      needs_activity: whether `activity` is to be measured.
    """

    name: str
    init: Callable[[Key], Theta]
    transformation: Callable[
        [Theta, tuple[ParameterInfo, ...], Steps], optax.GradientTransformationExtraArgs
    ]
    needs_activity: bool = False


def from_optax(name: str, transformation: optax.GradientTransformation) -> InnerOptimizer:
    """Makes the inner optimizer that is this transformation, whatever the parameters are."""
    tx = optax.with_extra_args_support(transformation)
    return InnerOptimizer(name, lambda key: (), lambda theta, info, num_steps: tx)


def without_parameter_info(
    name: str,
    init: Callable[[Key], Theta],
    make: Callable[[Theta, Steps], optax.GradientTransformationExtraArgs],
) -> InnerOptimizer:
    """Makes the inner optimizer `make(theta, num_steps)`, which asks nothing of single tensors."""
    return InnerOptimizer(name, init, lambda theta, info, num_steps: make(theta, num_steps))


def with_horizon(optimizer: InnerOptimizer, num_steps: Steps | None) -> InnerOptimizer:
    """Makes the optimizer that believes a lifetime to have `num_steps` updates, whatever it has.

    So one learns what knowing is worth. None = the optimizer itself, which believes what it is
    told.
    """
    if num_steps is None:
        return optimizer
    return replace(
        optimizer,
        transformation=lambda theta, info, _: optimizer.transformation(theta, info, num_steps),
    )


def fixed(optimizer: InnerOptimizer, theta: Theta) -> InnerOptimizer:
    """Closes an optimizer over its theta, so that something else can be meta-learned with it."""
    return InnerOptimizer(
        optimizer.name,
        lambda key: (),
        lambda _, info, num_steps: optimizer.transformation(theta, info, num_steps),
        optimizer.needs_activity,
    )
