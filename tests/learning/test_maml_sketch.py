"""MAML as theta = initial parameters: existing contracts, no change of the library.

Sine regression (Finn et al. 2017, arXiv:1703.03400, section 5.1): amplitude in [0.1, 5], phase in
[0, pi], inputs in [-5, 5]. The estimator is reverse mode through the whole inner loop.
"""

from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import metarl
from metarl.core.contracts import Estimate, Unroll
from metarl.tasks.environments import SampledTask

INNER_STEPS, RATE = 3, 0.02


def sine(key):
    """Amplitude, phase, ten support points and ten query points."""
    keys = jax.random.split(key, 3)
    amplitude = jax.random.uniform(keys[0], minval=0.1, maxval=5.0)
    phase = jax.random.uniform(keys[1], maxval=jnp.pi)
    x = jax.random.uniform(keys[2], (2, 10, 1), minval=-5.0, maxval=5.0)
    return x, amplitude * jnp.sin(x - phase)


def network(params, x):
    hidden = jnp.tanh(x @ params["in"] + params["in_bias"])
    hidden = jnp.tanh(hidden @ params["mid"] + params["mid_bias"])
    return hidden @ params["out"] + params["out_bias"]


def loss(params, task, part):
    x, y = task
    return jnp.mean((network(params, x[part]) - y[part]) ** 2)


class Log(NamedTuple):
    query_loss: jax.Array


@dataclass(frozen=True)
class Adaptation:
    """Gradient descent on the support points; theta is where it starts."""

    def init(self, key, theta, task):
        return theta

    def step(self, key, theta, task, state):
        gradient = jax.grad(loss)(state, task, 0)
        state = jax.tree.map(lambda p, g: p - RATE * g, state, gradient)
        return state, Log(loss(state, task, 1))


@dataclass(frozen=True)
class ReverseMode:
    """The exact gradient of the mean meta-loss over a batch of tasks."""

    unroll: Unroll
    tasks: int = 16

    def init(self, key, theta):
        return ()

    def estimate(self, key, theta, state):
        def mean_loss(theta):
            def one(key):
                return self.unroll.run(key, theta, self.unroll.tasks.sample(key))[0]

            losses = jax.vmap(one)(jax.random.split(key, self.tasks))
            return jnp.mean(losses), losses

        gradient, losses = jax.grad(mean_loss, has_aux=True)(theta)
        return Estimate(gradient, losses, jnp.sum(~jnp.isfinite(losses))), state


@pytest.mark.slow
def test_a_meta_learned_initialization_adapts_where_a_random_one_does_not():
    unroll = Unroll(SampledTask(sine), Adaptation(), INNER_STEPS, lambda log: log.query_loss[-1])
    sizes = {"in": (1, 32), "in_bias": (1, 32), "mid": (32, 32), "mid_bias": (1, 32)}
    sizes |= {"out": (32, 1), "out_bias": (1, 1)}
    rng = np.random.default_rng(0)
    theta = {n: jnp.float32(rng.normal(size=s) / np.sqrt(s[0])) for n, s in sizes.items()}
    learned = metarl.meta_train(
        theta, ReverseMode(unroll), optax.adam(3e-3), steps=600, log_every=600
    )

    @jax.jit
    def curves(theta):
        keys = jax.random.split(jax.random.key(99), 256)
        return jax.vmap(lambda k: unroll.run(k, theta, sine(k))[1].query_loss)(keys).mean(axis=0)

    before, after = np.asarray(curves(theta)), np.asarray(curves(learned))
    # Predicting zero leaves the mean square a^2 / 2, on average over amplitudes a in [0.1, 5].
    zero = (5.0**3 - 0.1**3) / (3 * 4.9) / 2
    assert before[-1] > 0.5 * zero
    assert after[-1] < 0.5 * zero
    assert after[-1] < after[0]
