"""Settings of the agent that lives with an update rule."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import jax
import jax.numpy as jnp
import optax

from metarl.core.errors import ConfigError, check_choice, check_positive, check_range
from metarl.core.types import PyTree
from metarl.networks.heads import HeadsConfig
from metarl.rules.update_rule import LOGITS

_ROOT = 1e-12
"""Under Adam's root, whose derivative is infinite where a gradient is zero."""

_RULES: dict[str, Callable[[float], optax.GradientTransformation]] = {
    "sgd": optax.sgd,
    "adam": lambda rate: optax.adam(rate, eps_root=_ROOT),
    "rmsprop": optax.rmsprop,
}


@dataclass(frozen=True)
class RuleAgentConfig:
    """Settings of an agent; its update rule is not among them.

    Attributes:
      updates: N, updates of a whole life, where the task does not say.
      num_envs: B, environments stepped together.
      rollout_length: T, steps of each environment between two updates.
      descent: `sgd`, `adam` or `rmsprop`.
      learning_rate: of every output.
      policy_learning_rate: of the policy, where it is another; needs separate torsos.
      max_grad_norm: global-norm clipping, of the policy and of the rest apart where their torsos
        are; None = off.
      replay_capacity: trajectories, of one environment each, to learn from again; 0 = every rollout
        is learnt from once, and then forgotten.
      replay_batch: trajectories in one update, with replay.
      predraw_resets: see `metarl.envs.wrappers.autoreset`; worth its memory only where observations
        are small.
      network: shape of the network.
    """

    updates: int = 1000
    num_envs: int = 64
    rollout_length: int = 20
    descent: Literal["sgd", "adam", "rmsprop"] = "adam"
    learning_rate: float = 1e-3
    policy_learning_rate: float | None = None
    max_grad_norm: float | None = 0.5
    replay_capacity: int = 0
    replay_batch: int = 64
    predraw_resets: bool = True
    network: HeadsConfig = field(default_factory=HeadsConfig)

    def __post_init__(self) -> None:
        check_positive(
            updates=self.updates,
            num_envs=self.num_envs,
            rollout_length=self.rollout_length,
            learning_rate=self.learning_rate,
            policy_learning_rate=self.policy_learning_rate,
            max_grad_norm=self.max_grad_norm,
        )
        check_positive(replay_batch=self.replay_batch)
        check_range(0, float("inf"), replay_capacity=self.replay_capacity)
        check_choice("descent", self.descent, _RULES)
        if self.policy_learning_rate is not None and self.network.shared_torso:
            raise ConfigError("policy_learning_rate needs network.shared_torso=False.")

    @property
    def batch_size(self) -> int:
        """Environment steps between two updates."""
        return self.num_envs * self.rollout_length

    def optimizer(self) -> optax.GradientTransformation:
        """Clipping and descent, of the policy apart from the rest where they share nothing."""
        if self.network.shared_torso:
            return self._descent(self.learning_rate)
        policy_rate = self.policy_learning_rate or self.learning_rate
        return optax.partition(
            {"policy": self._descent(policy_rate), "rest": self._descent(self.learning_rate)},
            _policy_or_rest,
        )

    def _descent(self, rate: float) -> optax.GradientTransformation:
        descent = _RULES[self.descent](rate)
        if self.max_grad_norm is None:
            return descent
        return optax.chain(_clip(self.max_grad_norm), descent)


def _clip(max_norm: float) -> optax.GradientTransformation:
    """Clips by the global norm, like optax's, but with a derivative where all gradients are zero.

    A meta-gradient is taken through it, and sparse rewards do give zero gradients.
    """

    def clip(updates: optax.Updates, params: optax.Params | None = None) -> optax.Updates:
        del params
        square = sum(jnp.sum(x**2) for x in jax.tree.leaves(updates))
        norm = jnp.sqrt(jnp.where(square > 0, square, 1.0))
        scale = jnp.where(norm > max_norm, max_norm / norm, 1.0)
        return jax.tree.map(lambda x: scale * x, updates)

    return optax.stateless(clip)


def _policy_or_rest(params: PyTree) -> PyTree:
    """Labels for `optax.partition`: a module of the policy's is called `logits_...`."""
    return {
        name: jax.tree.map(lambda _, n=name: "policy" if n.startswith(LOGITS) else "rest", sub)
        for name, sub in params.items()
    }
