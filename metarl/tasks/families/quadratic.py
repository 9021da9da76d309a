"""Quadratics with sampled condition number and rotation; iterates are known in closed form.

f(x) = 1/2 (x - x*)' Q diag(h) Q' (x - x*)
"""

from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp

from metarl.core.errors import check_positive
from metarl.core.keys import split_named
from metarl.core.types import Array, Key, PyTree
from metarl.tasks.families.scale import compress
from metarl.tasks.families.span import Span
from metarl.tasks.family import TaskFamily


@dataclass(frozen=True)
class QuadraticConfig:
    """Settings of a family of quadratics.

    Attributes:
      dimension: number d of variables.
      condition: condition number, largest over smallest curvature.
      curvature: largest curvature.
      noise: standard deviation of the gradient noise per element; 0 = none.
    """

    dimension: int = 10
    condition: Span = field(default=Span(1.0, 100.0))
    curvature: Span = field(default=Span(0.1, 10.0))
    noise: Span = field(default=Span(0, 0))

    def __post_init__(self) -> None:
        check_positive(dimension=self.dimension)
        check_positive(condition=self.condition.low, curvature=self.curvature.low)


class Quadratic(NamedTuple):
    """The task.

    Attributes:
      rotation: orthogonal matrix Q `[d, d]`; its columns are the principal axes.
      curvature: curvatures h along these axes, `[d]`, log-spaced.
      optimum: minimizer x*, `[d]`.
      noise: standard deviation of the gradient noise, a scalar.
    """

    rotation: Array
    curvature: Array
    optimum: Array
    noise: Array


def quadratic(name: str, config: QuadraticConfig) -> TaskFamily:
    """Makes the family; parameters are `{"x": [d]}`, initially standard normal, as is x*."""
    loss = _noisy_loss if config.noise.high else _loss
    return TaskFamily(name, partial(_sample, config), _init, loss, _evaluate, _normalize)


def sgd_iterate(task: Quadratic, start: Array, learning_rate: float | Array, steps: int) -> Array:
    """Returns the iterate of gradient descent after `steps` steps, `[d]`.

    `x_n = x* + Q (1 - rate h)^n Q' (x_0 - x*)`; with noise, it is the expected iterate.
    """
    distance = task.rotation.T @ (start - task.optimum)
    return task.optimum + task.rotation @ ((1 - learning_rate * task.curvature) ** steps * distance)


def _sample(config: QuadraticConfig, key: Key) -> Quadratic:
    keys = split_named(key, "rotation", "condition", "curvature", "optimum", "noise")
    d = config.dimension
    largest = config.curvature.draw(keys[2])
    # From 1 down to 1 / condition.
    exponents = jnp.arange(d) / max(d - 1, 1)
    return Quadratic(
        jax.random.orthogonal(keys[0], d),
        largest * config.condition.draw(keys[1]) ** -exponents,
        jax.random.normal(keys[3], (d,)),
        config.noise.draw(keys[4]).astype(jnp.float32),
    )


def _init(key: Key, task: Quadratic) -> PyTree:
    return {"x": jax.random.normal(key, task.optimum.shape)}


def _value(params: PyTree, task: Quadratic) -> Array:
    along = task.rotation.T @ (params["x"] - task.optimum)
    return 0.5 * jnp.sum(task.curvature * along**2)


def _loss(params: PyTree, key: Key, task: Quadratic) -> Array:
    del key
    return _value(params, task)


def _noisy_loss(params: PyTree, key: Key, task: Quadratic) -> Array:
    error = task.noise * jax.random.normal(key, task.optimum.shape)
    return _value(params, task) + jnp.sum(error * (params["x"] - task.optimum))


def _evaluate(params: PyTree, key: Key, task: Quadratic) -> dict[str, Array]:
    del key
    distance = jnp.linalg.norm(params["x"] - task.optimum)
    return {"loss": _value(params, task), "distance": distance}


def _normalize(loss: Array, task: Quadratic) -> Array:
    """Normalizes by the expected initial loss."""
    along = task.rotation.T @ task.optimum
    return compress(loss / (0.5 * jnp.sum(task.curvature * (1 + along**2))))
