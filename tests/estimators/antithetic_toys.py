"""Learners with closed-form antithetic estimates, and the estimators that they test."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from metarl.core.contracts import Truncation
from metarl.core.mesh import Layout
from metarl.core.meta_loss import meta_loss_from_logs
from metarl.estimators.antithetic import AntitheticTruncatedESConfig
from metarl.estimators.noise_reuse_es import NoiseReuseES
from metarl.estimators.pes import PES
from metarl.estimators.truncated_es import TruncatedES

ESTIMATORS = (TruncatedES, PES, NoiseReuseES)


@dataclass(frozen=True)
class Recorder:
    """Draws tasks `1, 2, 3, ...` in order and records all reports."""

    def init(self, key):
        return {"next": jnp.float32(1), "calls": jnp.int32(0), "scores": jnp.full((100,), jnp.inf)}

    def draw(self, key, state, wanted):
        number = state["next"] + jnp.cumsum(wanted) - wanted
        return number, jnp.int32(number), {**state, "next": state["next"] + jnp.sum(wanted)}

    def report(self, state, slots, scores, ended):
        place = jnp.where(ended, slots, 100)
        scores = state["scores"].at[place].set(scores, mode="drop")
        return {**state, "calls": state["calls"] + 1, "scores": scores}


@dataclass(frozen=True)
class LogRate:
    """Gradient descent on `x^2 / 2` from `x = 1` at the rate `exp(theta)`; logs the loss."""

    def init(self, key, theta, task):
        return jnp.float32(1)

    def step(self, key, theta, task, state):
        state = state * (1 - jnp.exp(theta))
        return state, 0.5 * state**2


@dataclass(frozen=True)
class Slope:
    """A loss that is linear in theta, the same at every step, whatever was done before."""

    slope: Any

    def init(self, key, theta, task):
        return jnp.float32(0)

    def step(self, key, theta, task, state):
        return state, jnp.asarray(self.slope) @ theta


@dataclass(frozen=True)
class Noisy:
    """Descends with noise, from a start that may depend on theta."""

    start: float = 0.0

    def init(self, key, theta, task):
        return {"x": jax.random.uniform(key) + self.start * theta["bias"]}

    def step(self, key, theta, task, state):
        x = state["x"] - jnp.sum(theta["rate"]) * (state["x"] - task) + jax.random.uniform(key)
        return {"x": x}, (x - task) ** 2


def last(logs):
    return logs[-1]


def make(
    kind, learner, length, lifetime, curriculum=None, layout=None, loss=jnp.mean, score=None, **more
):
    """An estimator whose unrolls are not staggered."""
    meta_loss = meta_loss_from_logs(loss, lambda logs: {"first": logs[0]})
    truncation = Truncation(learner, length, lambda task: jnp.int32(lifetime), meta_loss)
    config = AntitheticTruncatedESConfig(**{"stagger": False, **more})
    return kind(config, truncation, curriculum or Recorder(), layout or Layout(), score)


def full_unrolls(estimator, theta, windows, count, seed=0):
    """Gradients of every window of independent unrolls, `[count, windows, ...]` in float64."""

    def run(key):
        key_init, key_windows = jax.random.split(key)

        def window(state, key):
            found, state = estimator.estimate(key, theta, state)
            return state, found.gradient

        state = estimator.init(key_init, theta)
        return jax.lax.scan(window, state, jax.random.split(key_windows, windows))[1]

    keys = jax.random.split(jax.random.key(seed), count)
    return np.asarray(jax.jit(jax.vmap(run))(keys), np.float64)
