"""Compact features of an agent's outputs, as the meta-network reads them.

Predictions have hundreds of elements. They are embedded right after they are computed, so that only
embeddings are paired along time.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from metarl.core.types import Array, PyTree, Theta
from metarl.rl.trajectory import Trajectory
from metarl.rl.two_hot import categorical_mean
from metarl.rl.value_transforms import signed_parabolic
from metarl.rules.disco.config import DiscoConfig
from metarl.rules.disco.layers import perceptron
from metarl.rules.disco.theta import PARTS
from metarl.rules.update_rule import LOGITS, Apply, Outputs

Y, Z, Q, NEXT_POLICY = "y", "z", "q", "aux_pi"


class View(NamedTuple):
    """Features of a network's outputs for observations `[...]`.

    Attributes:
      logits: policy logits `[..., A]`.
      q: action-values `[..., A]`, in units of reward.
      y: embeddings of `y` by both parts of the meta-network, `[..., 2]`.
      z: embeddings of `z` of every action by both parts, `[..., A, 2]`.
    """

    logits: Array
    q: Array
    y: Array
    z: Array


class Views(NamedTuple):
    """Features `[T, B, ...]` of the observations acted on, and of the next observations."""

    now: View
    then: View


def view(config: DiscoConfig, theta: Theta, outputs: Outputs) -> View:
    """Returns the features of outputs; with `input_gradient`, only `y` and `z` carry a gradient."""
    if not config.input_gradient:
        outputs = jax.lax.stop_gradient(dict(outputs))
    fixed = jax.lax.stop_gradient({LOGITS: outputs[LOGITS], Q: outputs[Q]})
    q = signed_parabolic(categorical_mean(fixed[Q], -config.max_value, config.max_value))
    return View(
        logits=fixed[LOGITS],
        q=q,
        y=_embedded(theta, Y, jax.nn.softmax(outputs[Y])),
        z=_embedded(theta, Z, jax.nn.softmax(outputs[Z])),
    )


def views(
    config: DiscoConfig, theta: Theta, params: PyTree, apply: Apply, trajectory: Trajectory
) -> Views:
    """Returns the features of every step and of its successor.

    The successor of a step is the next step of the rollout, whose outputs are already computed.
    Where an episode was truncated, the successor is the final observation; the network is applied
    to these in a second pass, which is skipped if there are none. Where an episode terminated, the
    successor belongs to the new episode, as in the published meta-training; only inputs of the
    meta-network depend on it.
    """
    now = view(config, theta, apply(params, trajectory.obs))
    last = view(config, theta, apply(params, trajectory.next_obs[-1:]))
    following = jax.tree.map(lambda a, b: jnp.concatenate([a[1:], b]), now, last)
    truncated = trajectory.done & ~trajectory.terminated

    def final() -> View:
        finals = view(config, theta, apply(params, trajectory.next_obs))
        return jax.tree.map(lambda a, b: jnp.where(_over(truncated, a), a, b), finals, following)

    return Views(now, jax.lax.cond(jnp.any(truncated), final, lambda: following))


def _embedded(theta: Theta, name: str, probabilities: Array) -> Array:
    columns = [
        perceptron(theta[part][f"{name}_hidden"], theta[part][f"{name}_out"], probabilities)
        for part in PARTS
    ]
    return jnp.concatenate(columns, axis=-1)


def _over(condition: Array, like: Array) -> Array:
    """Reshapes `[T, B]` so that it broadcasts against `like [T, B, ...]`."""
    return condition.reshape(condition.shape + (1,) * (like.ndim - condition.ndim))
