"""Classic test functions for optimization, with known minima.

    f(x) = g(Q' (x - s)) - min g

with a shift s and a rotation Q, optionally sampled. Formulas and minima: Surjanovic and
Bingham, Virtual Library of Simulation Experiments; Styblinski and Tang 1990; Beale 1958.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp

from metarl.core.errors import ConfigError, check_positive
from metarl.core.keys import split_named
from metarl.core.types import Array, Key, PyTree
from metarl.tasks.families.scale import compress
from metarl.tasks.family import TaskFamily

_STARTS = 64
"""Number of starting points whose mean value is the scale of a task."""


@dataclass(frozen=True)
class Function:
    """A test function of any number of variables, or of two.

    Attributes:
      value: `x [d] -> scalar`.
      radius: bound of the domain, `[-radius, radius]` in every variable.
      minimiser: location of the minimum, by variable; one number = the same in all.
      minimum: minimum value divided by the number of variables.
      planar: whether the function has exactly two variables.
    """

    value: Callable[[Array], Array]
    radius: float
    minimiser: float | tuple[float, float]
    minimum: float = 0.0
    planar: bool = False


def rosenbrock(x: Array) -> Array:
    """Rosenbrock function, `sum 100 (x_{i+1} - x_i^2)^2 + (1 - x_i)^2`."""
    return jnp.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)


def ackley(x: Array) -> Array:
    """Ackley function, `20 (1 - exp(-0.2 |x| / sqrt d)) + e - exp(mean cos 2 pi x_i)`."""
    square = jnp.mean(x**2)
    # The root is not differentiable at zero, where the minimum is.
    root = jnp.where(square > 0, jnp.sqrt(jnp.where(square > 0, square, 1.0)), 0.0)
    return 20 * (1 - jnp.exp(-0.2 * root)) + math.e - jnp.exp(jnp.mean(jnp.cos(2 * jnp.pi * x)))


def rastrigin(x: Array) -> Array:
    """Rastrigin function, `sum x_i^2 + 10 (1 - cos 2 pi x_i)`."""
    return jnp.sum(x**2 + 10 * (1 - jnp.cos(2 * jnp.pi * x)))


def styblinski_tang(x: Array) -> Array:
    """Styblinski-Tang function, `1/2 sum x_i^4 - 16 x_i^2 + 5 x_i`."""
    return 0.5 * jnp.sum(x**4 - 16 * x**2 + 5 * x)


def griewank(x: Array) -> Array:
    """Griewank function, `1 + sum x_i^2 / 4000 - prod cos(x_i / sqrt i)`."""
    number = jnp.arange(1, x.shape[0] + 1)
    return 1 + jnp.sum(x**2) / 4000 - jnp.prod(jnp.cos(x / jnp.sqrt(number)))


def levy(x: Array) -> Array:
    """Levy function, with `w = 1 + (x - 1) / 4`; see the reference."""
    w = 1 + (x - 1) / 4
    first = jnp.sin(jnp.pi * w[0]) ** 2
    middle = (w[:-1] - 1) ** 2 * (1 + 10 * jnp.sin(jnp.pi * w[:-1] + 1) ** 2)
    last = (w[-1] - 1) ** 2 * (1 + jnp.sin(2 * jnp.pi * w[-1]) ** 2)
    return first + jnp.sum(middle) + last


def beale(x: Array) -> Array:
    """Beale function, `sum_k (c_k - x + x y^k)^2`, c = 1.5, 2.25, 2.625."""
    powers = x[1] ** jnp.arange(1, 4)
    return jnp.sum((jnp.array([1.5, 2.25, 2.625]) - x[0] + x[0] * powers) ** 2)


FUNCTIONS: Mapping[str, Function] = {
    "ackley": Function(ackley, 32.768, 0.0),
    "beale": Function(beale, 4.5, (3.0, 0.5), planar=True),
    "griewank": Function(griewank, 600.0, 0.0),
    "levy": Function(levy, 10.0, 1.0),
    "rastrigin": Function(rastrigin, 5.12, 0.0),
    "rosenbrock": Function(rosenbrock, 2.048, 1.0),
    "styblinski_tang": Function(styblinski_tang, 5.0, -2.9035340276, -39.1661657038),
}
"""The functions, by name."""


@dataclass(frozen=True)
class FunctionConfig:
    """Settings of a family of one test function.

    Attributes:
      dimension: number d of variables.
      shift: standard deviation of s in each variable, as a fraction of the function's radius.
      rotate: whether Q is sampled uniformly; False = the identity.
    """

    dimension: int = 2
    shift: float = 0.1
    rotate: bool = False

    def __post_init__(self) -> None:
        if self.dimension < 2:
            raise ConfigError(f"dimension must be at least 2, got {self.dimension}.")
        if self.shift:
            check_positive(shift=self.shift)


class FunctionTask(NamedTuple):
    """The task.

    Attributes:
      shift: shift s, `[d]`.
      rotation: orthogonal matrix Q, `[d, d]`.
      scale: mean of f over random starting points, a scalar.
    """

    shift: Array
    rotation: Array
    scale: Array


def function(name: str, config: FunctionConfig, which: Function) -> TaskFamily:
    """Makes the family; parameters are `{"x": [d]}`, initially uniform in the domain.

    Raises:
      ConfigError: the function has two variables, and `dimension` is larger.
    """
    d = config.dimension
    if which.planar and d != 2:
        raise ConfigError(f"{name} has 2 variables, so dimension cannot be {d}.")

    def above_minimum(x: Array) -> Array:
        return which.value(x) - which.minimum * d

    def start(key: Key, task: FunctionTask) -> Array:
        x = jax.random.uniform(key, (d,), minval=-which.radius, maxval=which.radius)
        return task.shift + task.rotation @ x

    def value(x: Array, task: FunctionTask) -> Array:
        return above_minimum(task.rotation.T @ (x - task.shift))

    def sample(key: Key) -> FunctionTask:
        key_shift, key_rotation, key_scale = split_named(key, "shift", "rotation", "scale")
        shift = config.shift * which.radius * jax.random.normal(key_shift, (d,))
        rotation = jax.random.orthogonal(key_rotation, d) if config.rotate else jnp.eye(d)
        task = FunctionTask(shift, rotation, jnp.float32(1.0))
        starts = jax.vmap(lambda k: value(start(k, task), task))
        return task._replace(scale=jnp.mean(starts(jax.random.split(key_scale, _STARTS))))

    def evaluate(params: PyTree, key: Key, task: FunctionTask) -> dict[str, Array]:
        del key
        distance = jnp.linalg.norm(params["x"] - optimum(which, task))
        return {"loss": value(params["x"], task), "distance": distance}

    return TaskFamily(
        name,
        sample,
        lambda key, task: {"x": start(key, task)},
        lambda params, key, task: value(params["x"], task),
        evaluate,
        lambda loss, task: compress(loss / task.scale),
    )


def optimum(which: Function, task: FunctionTask) -> Array:
    """Returns the location of the minimum, `[d]`, where the loss is zero."""
    return task.shift + task.rotation @ jnp.broadcast_to(
        jnp.asarray(which.minimiser), task.shift.shape
    )
