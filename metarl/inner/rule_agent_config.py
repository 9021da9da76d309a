"""Settings of the agent that is trained by an update rule."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Literal

import jax
import jax.numpy as jnp
import optax

from metarl.core.errors import ConfigError, check_choice, check_positive, check_range
from metarl.core.types import PyTree
from metarl.networks.heads import HeadsConfig
from metarl.rules.update_rule import LOGITS

_ROOT = 1e-12
"""`eps_root` of Adam: without it, the derivative of the root is infinite at zero gradients."""

_RULES: dict[str, Callable[[float], optax.GradientTransformation]] = {
    "sgd": optax.sgd,
    "adam": lambda rate: optax.adam(rate, eps_root=_ROOT),
    "rmsprop": optax.rmsprop,
}


@dataclass(frozen=True)
class RuleAgentConfig:
    """Settings of an agent, except for its update rule.

    Attributes:
      updates: lifetime N in updates, for tasks without a lifetime.
      num_envs: number B of parallel environments.
      rollout_length: number T of steps of each environment between two updates.
      descent: optimizer, `sgd`, `adam` or `rmsprop`.
      learning_rate: learning rate.
      policy_learning_rate: learning rate of the policy; None = `learning_rate`. Needs separate
        torsos.
      max_grad_norm: maximum global norm of the gradient; with separate torsos the policy and the
        other outputs are clipped separately. None = no clipping.
      replay_capacity: size of the replay buffer in trajectories of one environment; 0 = on-policy,
        every rollout is used once.
      replay_batch: number of trajectories per update, with replay.
      predraw_resets: `predraw` of `metarl.envs.wrappers.autoreset`; it needs much memory where
        observations are large.
      network: architecture of the network.
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

    def stretched(self, horizon: float) -> "RuleAgentConfig":
        """The settings with the lifetime multiplied by `horizon`, to at least one update."""
        return replace(self, updates=max(1, round(horizon * self.updates)))

    @property
    def batch_size(self) -> int:
        """Environment steps between two updates."""
        return self.num_envs * self.rollout_length

    def optimizer(self) -> optax.GradientTransformation:
        """Returns the optimizer with clipping; separate for the policy if torsos are separate."""
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
    """Clips by the global norm, as optax does, with a finite derivative at zero gradients.

    Meta-gradients are backpropagated through it, and sparse rewards can give zero gradients.
    """

    def clip(updates: optax.Updates, params: optax.Params | None = None) -> optax.Updates:
        del params
        square = sum(jnp.sum(x**2) for x in jax.tree.leaves(updates))
        norm = jnp.sqrt(jnp.where(square > 0, square, 1.0))
        scale = jnp.where(norm > max_norm, max_norm / norm, 1.0)
        return jax.tree.map(lambda x: scale * x, updates)

    return optax.stateless(clip)


def _policy_or_rest(params: PyTree) -> PyTree:
    """Returns labels for `optax.partition`; modules of the policy are named `logits_...`."""
    return {
        name: jax.tree.map(lambda _, n=name: "policy" if n.startswith(LOGITS) else "rest", sub)
        for name, sub in params.items()
    }
