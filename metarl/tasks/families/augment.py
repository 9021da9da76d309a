"""Augmentations: the same problems as they look to an optimizer in other units or precision.

Reference: Metz et al. 2022, arXiv:2211.09760, section on task augmentation.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from metarl.core.errors import check_choice, check_positive
from metarl.core.keys import split_named
from metarl.core.types import Array, Key, PyTree, Task
from metarl.tasks.families.span import Span
from metarl.tasks.family import TaskFamily


class Rescaled(NamedTuple):
    """The task of a family in other units.

    Attributes:
      task: of the family.
      units: size of a unit of each parameter, a tree like the parameters whose leaves fit theirs.
    """

    task: Task
    units: PyTree


DrawScales = Callable[[Key, Span, PyTree], PyTree]
"""`(key, span, shapes of the parameters) -> units`."""


def global_scale(key: Key, span: Span, shapes: PyTree) -> PyTree:
    """The same unit for all parameters."""
    unit = span.draw(key)
    return jax.tree.map(lambda _: unit, shapes)


def per_tensor_scale(key: Key, span: Span, shapes: PyTree) -> PyTree:
    """A unit for every tensor."""
    leaves, structure = jax.tree.flatten(shapes)
    keys = jax.random.split(key, len(leaves))
    return jax.tree.unflatten(structure, [span.draw(key) for key in keys])


def per_parameter_scale(key: Key, span: Span, shapes: PyTree) -> PyTree:
    """A unit for every entry of every tensor."""
    leaves, structure = jax.tree.flatten(shapes)
    keys = jax.random.split(key, len(leaves))
    units = [
        jax.vmap(span.draw)(jax.random.split(key, leaf.size)).reshape(leaf.shape)
        for key, leaf in zip(keys, leaves, strict=True)
    ]
    return jax.tree.unflatten(structure, units)


RESCALINGS: Mapping[str, DrawScales] = {
    "global": global_scale,
    "tensor": per_tensor_scale,
    "parameter": per_parameter_scale,
}
"""What may have a unit of its own, by name."""

DTYPES: Mapping[str, Any] = {
    "float32": jnp.float32,
    "bfloat16": jnp.bfloat16,
    "float16": jnp.float16,
}
"""Types of parameters, by name."""


@dataclass(frozen=True)
class AugmentConfig:
    """Settings that every family takes.

    Attributes:
      rescale: which parameters get units of their own, a name of `RESCALINGS`; `none` = none do.
      rescale_by: size of a unit.
      dtype: type of parameters and gradients, a name of `DTYPES`.
    """

    rescale: str = "none"
    rescale_by: Span = field(default=Span(0.01, 100.0))
    dtype: str = "float32"

    def __post_init__(self) -> None:
        check_choice("rescaling", self.rescale, [*RESCALINGS, "none"])
        check_choice("dtype", self.dtype, DTYPES)
        check_positive(rescale_by=self.rescale_by.low)


def augmented(family: TaskFamily, config: AugmentConfig) -> TaskFamily:
    """The family as a config says."""
    if config.rescale != "none":
        family = rescaled(family, RESCALINGS[config.rescale], config.rescale_by)
    if config.dtype != "float32":
        family = cast(family, DTYPES[config.dtype])
    return family


def rescaled(family: TaskFamily, draw: DrawScales, span: Span) -> TaskFamily:
    """The family whose parameters are `q = p / units`.

    A gradient in q is `units` times that in p, and a step in q as large in p: what a step size
    means is thus anyone's guess, and an optimizer has to find out.

    Args:
      family: any.
      draw: which parameters share a unit.
      span: size of a unit.
    """

    def inside(params: PyTree, task: Rescaled) -> PyTree:
        return jax.tree.map(lambda q, unit: q * unit.astype(q.dtype), params, task.units)

    def sample(key: Key) -> Rescaled:
        key_task, key_units = split_named(key, "task", "units")
        task = family.sample(key_task)
        shapes = jax.eval_shape(family.init, key_task, task)
        return Rescaled(task, draw(key_units, span, shapes))

    def init(key: Key, task: Rescaled) -> PyTree:
        params = family.init(key, task.task)
        return jax.tree.map(lambda p, unit: p / unit.astype(p.dtype), params, task.units)

    def loss(params: PyTree, key: Key, task: Rescaled) -> Array:
        return family.loss(inside(params, task), key, task.task)

    def evaluate(params: PyTree, key: Key, task: Rescaled) -> dict[str, Array]:
        return family.evaluate(inside(params, task), key, task.task)

    multipliers = family.multipliers
    return replace(
        family,
        sample=sample,
        init=init,
        loss=loss,
        evaluate=evaluate,
        normalize=lambda loss, task: family.normalize(loss, task.task),
        multipliers=None if multipliers is None else lambda task: multipliers(task.task),
    )


def cast(family: TaskFamily, dtype: Any) -> TaskFamily:
    """The family whose parameters, and so gradients, are of another floating-point type.

    Networks compute in the type of their parameters; losses are float32.
    """

    def init(key: Key, task: Task) -> PyTree:
        return jax.tree.map(lambda p: p.astype(dtype), family.init(key, task))

    return replace(family, init=init)
