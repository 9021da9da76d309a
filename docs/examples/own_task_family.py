"""Tune the learning rate of SGD on a task family of your own: regression of random sine waves."""

import jax
import jax.numpy as jnp
import optax

import metarl
from metarl.core.contracts import Unroll
from metarl.estimators import FullES, FullESConfig
from metarl.inner import Training, mean_loss
from metarl.optimizers.learnable import LearnableSGDConfig, learnable_sgd_inner
from metarl.tasks.family import TaskFamily
from metarl.tasks.lifetimes import Lifetimes


def sample(key):
    """A task: amplitude and phase of a sine wave."""
    amplitude, phase = jax.random.uniform(key, (2,), minval=0.5, maxval=2.0)
    return {"amplitude": amplitude, "phase": phase}


def init(key, task):
    """A network with one hidden layer of 32 units."""
    first, last = jax.random.split(key)
    return {
        "first": jax.random.normal(first, (2, 32)),
        "last": jax.random.normal(last, (32, 1)) / 6.0,
    }


def loss(params, key, task):
    """Mean squared error on a batch of 16 points."""
    x = jax.random.uniform(key, (16, 1), minval=-3.0, maxval=3.0)
    hidden = jnp.tanh(jnp.concatenate([x, jnp.ones_like(x)], axis=1) @ params["first"])
    error = hidden @ params["last"] - task["amplitude"] * jnp.sin(x + task["phase"])
    return jnp.mean(error**2)


def evaluate(params, key, task):
    """Loss on further points."""
    return {"loss": loss(params, key, task)}


def main(steps: int = 60, updates: int = 50) -> dict:
    """Returns the meta-parameters of the optimizer."""
    family = TaskFamily("sine", sample, init, loss, evaluate)
    optimizer = learnable_sgd_inner(LearnableSGDConfig(learning_rate=1e-3))
    tasks = Lifetimes(family, updates, updates)
    unroll = Unroll(tasks, Training(family, optimizer), updates, mean_loss)
    estimator = FullES(FullESConfig(population=64, sigma=0.1), (unroll,))

    def report(step, log, theta):
        print(f"step {step}: mean loss {log.losses.mean():.3f}")

    theta = optimizer.init(jax.random.key(0))
    return metarl.meta_train(
        theta, estimator, optax.adam(0.1), steps=steps, log_every=10, callback=report
    )


if __name__ == "__main__":
    main()
