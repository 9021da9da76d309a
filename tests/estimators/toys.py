"""Learners small enough that the gradient of their meta-loss is known exactly."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from metarl.core.contracts import Unroll


@dataclass(frozen=True)
class Tasks:
    """Draws tasks by a function."""

    sample: Callable[[jax.Array], Any] = lambda key: jnp.float32(0)


@dataclass(frozen=True)
class OneStep:
    """A lifetime of one step, whose log is `function(theta, task, key)`."""

    function: Callable[[Any, Any, jax.Array], jax.Array]

    def init(self, key, theta, task):
        return key

    def step(self, key, theta, task, state):
        # The key of `init`, so that what it was given is seen too.
        return state, self.function(theta, task, state)


@dataclass(frozen=True)
class GradientDescent:
    """Minimises `(x - task)^2 / 2` from `x = 1` with step size `theta`; logs that loss."""

    def init(self, key, theta, task):
        return jnp.float32(1)

    def step(self, key, theta, task, state):
        state = state - theta * (state - task)
        return state, 0.5 * (state - task) ** 2


def one_step(function, sample=Tasks.sample) -> Unroll:
    """Scores theta by `function(theta, task, key)`."""
    return Unroll(Tasks(sample), OneStep(function), 1, lambda logs: logs[0])
