"""Meta-training as one function: an estimator, an outer optimizer, theta."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax

from metarl.core.contracts import Estimator
from metarl.core.errors import ConfigError, check_positive
from metarl.core.keys import named
from metarl.core.mesh import Layout, make_mesh, on_mesh
from metarl.core.types import Theta
from metarl.outer.gradient import GradientMetaOptimizer
from metarl.outer.protocol import MetaLog, MetaOptimizer
from metarl.outer.steps import outer_steps

Callback = Callable[[int, MetaLog, Theta], bool | None]
"""`(outer steps so far, logs of the steps since the last call, theta) -> True to stop`."""


def meta_train(
    theta: Theta,
    estimator: Estimator | MetaOptimizer,
    optimizer: optax.GradientTransformation | None = None,
    *,
    steps: int,
    seed: int = 0,
    log_every: int = 1,
    callback: Callback | None = None,
) -> Theta:
    """Meta-trains theta and returns it.

    Args:
      theta: initial meta-parameters, a pytree of floating-point arrays.
      estimator: estimator of the meta-gradient, such as `metarl.estimators.PES`; or an optimizer
        that needs no gradient, such as `metarl.outer.EvosaxMetaOptimizer`.
      optimizer: optax transformation that is applied to the gradient; None for a meta-optimizer.
      steps: number of outer steps.
      seed: seed of all random numbers.
      log_every: outer steps in one compiled program, between two calls of `callback`.
      callback: function that receives progress; logs have leaves `[n, ...]` on the host.

    Raises:
      ConfigError: an estimator without an optimizer, a meta-optimizer with one, or a number that is
        not positive.
    """
    check_positive(steps=steps, log_every=log_every)
    meta = _meta_optimizer(estimator, optimizer)
    mesh = make_mesh(getattr(estimator, "layout", Layout()).devices)
    key = jax.random.key(seed)

    program = on_mesh(partial(outer_steps, meta), mesh)
    state = on_mesh(meta.init, mesh)(named(key, "outer"), theta)
    done = 0
    while done < steps:
        until = min(done + log_every, steps)
        state, logs = program(key, state, jnp.arange(done, until))
        done = until
        if callback is not None and callback(done, jax.device_get(logs), meta.theta(state)):
            break
    return jax.device_get(meta.theta(state))


def _meta_optimizer(estimator: Any, optimizer: optax.GradientTransformation | None) -> Any:
    takes_gradient = hasattr(estimator, "estimate")
    if takes_gradient and optimizer is None:
        raise ConfigError(
            f"{type(estimator).__name__} estimates a gradient: give an optax transformation as "
            "optimizer, such as optax.adam(1e-3)."
        )
    if not takes_gradient and optimizer is not None:
        raise ConfigError(
            f"{type(estimator).__name__} updates theta itself: the optimizer would be ignored."
        )
    return GradientMetaOptimizer(estimator, optimizer) if takes_gradient else estimator
