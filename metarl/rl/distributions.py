"""Action distributions as pytrees of their parameters.

Sampling is a deterministic function of noise, so that a rollout can sample the noise of all its
steps at once.
"""

import math
from typing import NamedTuple, Protocol, TypeAlias

import jax
import jax.numpy as jnp

from metarl.core.types import Array, Key

_LOG_2PI = math.log(2.0 * math.pi)


class Distribution(Protocol):
    """Interface of action distributions with batch axes `[...]`."""

    def sample(self, noise: Array) -> Array:
        """Maps noise to actions."""
        ...

    def log_prob(self, action: Array) -> Array:
        """Log-probability (density) of actions, `[...]`."""
        ...

    def entropy(self) -> Array:
        """Entropy in nats, `[...]`."""
        ...

    def mode(self) -> Array:
        """The most likely action."""
        ...


class Categorical(NamedTuple):
    """Distribution over `A` actions with logits `[..., A]`."""

    logits: Array

    def sample(self, noise: Array) -> Array:
        """Gumbel-max: `noise` is standard Gumbel `[..., A]`; returns integers `[...]`."""
        return jnp.argmax(self.logits + noise, axis=-1)

    def log_prob(self, action: Array) -> Array:
        """Log-probability of integer actions `[...]`."""
        log_probs = jax.nn.log_softmax(self.logits)
        # A masked sum over actions: the derivative of a gather is a scatter, slow on CPU.
        chosen = jax.nn.one_hot(action, log_probs.shape[-1], dtype=bool)
        return jnp.sum(jnp.where(chosen, log_probs, 0.0), axis=-1)

    def entropy(self) -> Array:
        """Entropy in nats, `[...]`."""
        log_probs = jax.nn.log_softmax(self.logits)
        return -jnp.sum(jnp.exp(log_probs) * log_probs, axis=-1)

    def mode(self) -> Array:
        """The most likely action, `[...]`."""
        return jnp.argmax(self.logits, axis=-1)


class DiagonalGaussian(NamedTuple):
    """Independent normals with `mean` and `log_std` `[..., D]` (broadcast against each other)."""

    mean: Array
    log_std: Array

    def sample(self, noise: Array) -> Array:
        """`noise` is standard normal `[..., D]`; returns actions `[..., D]`."""
        return self.mean + jnp.exp(self.log_std) * noise

    def log_prob(self, action: Array) -> Array:
        """Log-density of actions `[..., D]`, summed over `D`."""
        z = (action - self.mean) * jnp.exp(-self.log_std)
        return -jnp.sum(0.5 * z**2 + self.log_std + 0.5 * _LOG_2PI, axis=-1)

    def entropy(self) -> Array:
        """Differential entropy in nats, `[...]`."""
        per_dimension = self.log_std + 0.5 * (1.0 + _LOG_2PI)
        return jnp.sum(jnp.broadcast_to(per_dimension, self.mean.shape), axis=-1)

    def mode(self) -> Array:
        """The most likely action, `[..., D]`."""
        return self.mean


ActionDistribution: TypeAlias = Categorical | DiagonalGaussian


def action_noise(key: Key, shape: tuple[int, ...], discrete: bool) -> Array:
    """Samples the noise for `Distribution.sample`: Gumbel if `discrete`, else standard normal."""
    draw = jax.random.gumbel if discrete else jax.random.normal
    return draw(key, shape)
