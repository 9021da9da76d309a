"""Averages of theta over outer steps, around any meta-optimizer."""

from dataclasses import dataclass
from typing import NamedTuple

import jax.numpy as jnp
import optax

from metarl.core.dtypes import cast_like
from metarl.core.errors import check_range
from metarl.core.trees import where
from metarl.core.types import Array, Key, PyTree, Theta
from metarl.outer.protocol import MetaLog, MetaOptimizer


class AveragedState(NamedTuple):
    """State of `AveragedMetaOptimizer`.

    Attributes:
      state: state of the wrapped meta-optimizer.
      average: exponential moving average of theta, not corrected for its start at zero.
      steps: number of outer steps, int32.
    """

    state: PyTree
    average: Theta
    steps: Array


@dataclass(frozen=True)
class AveragedMetaOptimizer:
    """Returns the bias-corrected exponential moving average of theta instead of the last theta.

    The trajectory of theta is that of `meta`. Near an optimum, theta fluctuates with the noise of
    the estimated gradient; the average removes most of it.

    Attributes:
      meta: wrapped meta-optimizer, which updates theta.
      decay: decay of the average for each outer step, in [0, 1); 0 returns the last theta.

    Raises:
      ConfigError: `decay` is not in [0, 1).

    Reference: Polyak and Juditsky 1992, whose uniform average this replaces by an exponential one.
    """

    meta: MetaOptimizer
    decay: float

    def __post_init__(self) -> None:
        check_range(0.0, 0.999999, decay=self.decay)

    def init(self, key: Key, theta: Theta) -> AveragedState:
        """Returns the initial state at `theta`."""
        state = self.meta.init(key, theta)
        zero = optax.tree.zeros_like(self.meta.theta(state))
        return AveragedState(state, zero, jnp.int32(0))

    def step(self, key: Key, state: AveragedState) -> tuple[AveragedState, MetaLog]:
        """Takes one outer step and updates the average."""
        new, log = self.meta.step(key, state.state)
        average = optax.tree.update_moment(self.meta.theta(new), state.average, self.decay, 1)
        return AveragedState(new, cast_like(average, state.average), state.steps + 1), log

    def theta(self, state: AveragedState) -> Theta:
        """Returns the average; before the first step, the initial theta."""
        corrected = optax.tree.bias_correction(
            state.average, self.decay, jnp.maximum(state.steps, 1)
        )
        return where(state.steps > 0, corrected, self.meta.theta(state.state))
