"""Task augmentation: reparametrization of the weights, and low-precision parameters.

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
    """A task with reparametrized weights.

    Attributes:
      task: task of the wrapped family.
      units: scales of the parameters, a tree like the parameters with broadcastable leaves.
    """

    task: Task
    units: PyTree


DrawScales = Callable[[Key, Span, PyTree], PyTree]
"""`(key, span, shapes of the parameters) -> scales`."""


def global_scale(key: Key, span: Span, shapes: PyTree) -> PyTree:
    """Samples one scale for all parameters."""
    unit = span.draw(key)
    return jax.tree.map(lambda _: unit, shapes)


def per_tensor_scale(key: Key, span: Span, shapes: PyTree) -> PyTree:
    """Samples a scale for every tensor."""
    leaves, structure = jax.tree.flatten(shapes)
    keys = jax.random.split(key, len(leaves))
    return jax.tree.unflatten(structure, [span.draw(key) for key in keys])


def per_parameter_scale(key: Key, span: Span, shapes: PyTree) -> PyTree:
    """Samples a scale for every element of every tensor."""
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
"""Granularity of the scales, by name."""

DTYPES: Mapping[str, Any] = {
    "float32": jnp.float32,
    "bfloat16": jnp.bfloat16,
    "float16": jnp.float16,
}
"""Dtypes of parameters, by name."""


@dataclass(frozen=True)
class AugmentConfig:
    """Settings of task augmentation, for every family.

    Attributes:
      rescale: granularity of the scales, a name of `RESCALINGS`; `none` = no reparametrization.
      rescale_by: range of the scales.
      dtype: dtype of parameters and gradients, a name of `DTYPES`.
    """

    rescale: str = "none"
    rescale_by: Span = field(default=Span(0.01, 100.0))
    dtype: str = "float32"

    def __post_init__(self) -> None:
        check_choice("rescaling", self.rescale, [*RESCALINGS, "none"])
        check_choice("dtype", self.dtype, DTYPES)
        check_positive(rescale_by=self.rescale_by.low)


def augmented(family: TaskFamily, config: AugmentConfig) -> TaskFamily:
    """Returns the family with the augmentations of a config."""
    if config.rescale != "none":
        family = rescaled(family, RESCALINGS[config.rescale], config.rescale_by)
    if config.dtype != "float32":
        family = cast(family, DTYPES[config.dtype])
    return family


def rescaled(family: TaskFamily, draw: DrawScales, span: Span) -> TaskFamily:
    """Returns the family with reparametrized weights `q = p / scale`.

    The gradient with respect to q is `scale` times that with respect to p, and a step in q is
    multiplied by `scale` in p, so that good step sizes differ between tasks.

    Args:
      family: task family.
      draw: function that samples the scales.
      span: range of the scales.
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
    """Returns the family with parameters and gradients of another floating-point dtype.

    Networks compute in the dtype of their parameters; losses are float32.
    """

    def init(key: Key, task: Task) -> PyTree:
        return jax.tree.map(lambda p: p.astype(dtype), family.init(key, task))

    return replace(family, init=init)
