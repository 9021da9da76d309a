"""An estimator of your own: SPSA, simultaneous perturbation of all meta-parameters by signs.

An estimator sees an unroll and nothing of what is learned, so it meta-trains losses and optimizers
alike; here it tunes the learning rate of gradient descent on quadratics.
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import optax

import metarl
from metarl.core.contracts import Estimate, Unroll
from metarl.inner import Training, mean_loss
from metarl.optimizers.learnable import LearnableSGDConfig, learnable_sgd_inner
from metarl.tasks import families
from metarl.tasks.lifetimes import Lifetimes


@dataclass(frozen=True)
class SPSA:
    """Two-sided simultaneous perturbation stochastic approximation (Spall 1992)."""

    unroll: Unroll
    size: float = 0.1
    samples: int = 16

    def init(self, key, theta):
        """It has no state."""
        return ()

    def estimate(self, key, theta, state):
        """Averages `(L(theta + c s) - L(theta - c s)) / 2c * s` over random signs `s`."""

        def sample(key):
            key_signs, key_task, key_unroll = jax.random.split(key, 3)
            leaves, tree = jax.tree.flatten(theta)
            keys = jax.random.split(key_signs, len(leaves))
            signs = [
                jax.random.rademacher(k, x.shape, x.dtype)
                for k, x in zip(keys, leaves, strict=True)
            ]
            signs = jax.tree.unflatten(tree, signs)
            task = self.unroll.tasks.sample(key_task)

            def loss(direction):
                moved = jax.tree.map(lambda x, s: x + direction * self.size * s, theta, signs)
                return self.unroll.run(key_unroll, moved, task)[0]

            losses = jnp.stack([loss(1.0), loss(-1.0)])
            slope = (losses[0] - losses[1]) / (2 * self.size)
            return jax.tree.map(lambda s: slope * s, signs), losses

        gradients, losses = jax.vmap(sample)(jax.random.split(key, self.samples))
        gradient = jax.tree.map(lambda x: jnp.mean(x, axis=0), gradients)
        return Estimate(gradient, losses.ravel(), jnp.sum(~jnp.isfinite(losses))), state


def main(steps: int = 50, updates: int = 20) -> dict:
    """Returns the meta-parameters of the optimizer."""
    family = families.make("quadratic")
    optimizer = learnable_sgd_inner(LearnableSGDConfig(learning_rate=0.01))
    tasks = Lifetimes(family, updates, updates)
    estimator = SPSA(Unroll(tasks, Training(family, optimizer), updates, mean_loss))

    def report(step, log, theta):
        print(f"step {step}: mean loss {log.losses.mean():.3f}")

    theta = optimizer.init(jax.random.key(0))
    return metarl.meta_train(
        theta, estimator, optax.adam(0.05), steps=steps, log_every=10, callback=report
    )


if __name__ == "__main__":
    main()
