"""Gradient-based meta-optimizer: an estimator of the meta-gradient and an optax transformation."""

from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from metarl.core.contracts import Estimator
from metarl.core.dtypes import cast_like, strongly_typed
from metarl.core.keys import split_named
from metarl.core.trees import all_finite
from metarl.core.types import Key, PyTree, Theta
from metarl.outer.protocol import MetaLog


class GradientMetaState(NamedTuple):
    """State of the outer loop.

    Attributes:
      theta: meta-parameters.
      opt_state: state of the optax transformation.
      estimator_state: state of the estimator.
    """

    theta: Theta
    opt_state: optax.OptState
    estimator_state: PyTree


@dataclass(frozen=True)
class GradientMetaOptimizer:
    """Updates theta with an optax transformation of the estimated meta-gradient.

    Attributes:
      estimator: estimator of the meta-gradient.
      tx: gradient transformation, such as `optax.adam(0.02)`.
    """

    estimator: Estimator
    tx: optax.GradientTransformation

    def init(self, key: Key, theta: Theta) -> GradientMetaState:
        """Returns the initial state at `theta`."""
        theta = strongly_typed(theta)
        state = GradientMetaState(theta, self.tx.init(theta), self.estimator.init(key, theta))
        return strongly_typed(state)

    def step(self, key: Key, state: GradientMetaState) -> tuple[GradientMetaState, MetaLog]:
        """Takes one outer step; a gradient that is not finite is logged and replaced by zero."""
        (key_estimate,) = split_named(key, "estimate")
        estimate, estimator_state = self.estimator.estimate(
            key_estimate, state.theta, state.estimator_state
        )
        usable = all_finite(estimate.gradient)
        gradient = jax.tree.map(
            lambda x: jnp.where(usable, x, jnp.zeros_like(x)), estimate.gradient
        )
        updates, opt_state = self.tx.update(gradient, state.opt_state, state.theta)
        theta = optax.apply_updates(state.theta, updates)
        log = MetaLog(
            losses=estimate.losses,
            diverged=estimate.diverged,
            gradient_norm=optax.tree.norm(estimate.gradient),
            update_norm=optax.tree.norm(updates),
            unroll_losses=estimate.unroll_losses,
            summary=estimate.summary,
        )
        return cast_like(GradientMetaState(theta, opt_state, estimator_state), state), log

    def theta(self, state: GradientMetaState) -> Theta:
        """Returns the current theta."""
        return state.theta
