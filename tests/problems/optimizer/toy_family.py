"""A family of tasks on which gradient descent is known in closed form."""

import jax
import jax.numpy as jnp
import optax

from metarl.optimizers.protocol import InnerOptimizer
from metarl.tasks.family import TaskFamily


def _loss(params, key, task):
    del key
    return 0.5 * task * jnp.sum(params["x"] ** 2)


# f(x) = c x^2 / 2 from x in [1, 2], with c in [0.5, 1.5]; held-out losses are larger by one.
TOY = TaskFamily(
    "toy",
    sample=lambda key: jax.random.uniform(key, minval=0.5, maxval=1.5),
    init=lambda key, task: {"x": jax.random.uniform(key, (1,), minval=1.0, maxval=2.0)},
    loss=_loss,
    evaluate=lambda params, key, task: {"loss": _loss(params, key, task) + 1.0},
    normalize=lambda loss, task: loss / task,
)

# Theta is the learning rate.
DESCENT = InnerOptimizer(
    "descent",
    lambda key: jnp.float32(0.1),
    lambda theta, info, num_steps: optax.with_extra_args_support(optax.sgd(theta)),
)
