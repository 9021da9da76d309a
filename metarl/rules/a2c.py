"""Advantage actor-critic (A2C) as an update rule: the handcrafted baseline."""

from collections.abc import Mapping
from dataclasses import dataclass

import jax
import jax.numpy as jnp

from metarl.core.errors import check_range
from metarl.core.types import Array, Key, PyTree, Theta
from metarl.rl.advantages import Advantages, generalized_advantage_estimation
from metarl.rl.distributions import Categorical
from metarl.rl.losses import value_loss
from metarl.rl.trajectory import Trajectory
from metarl.rules.update_rule import (
    LOGITS,
    Apply,
    LifetimeProgress,
    Outputs,
    RuleState,
    UpdateRule,
    empty_state,
)

VALUE = "value"


@dataclass(frozen=True)
class A2CConfig:
    """Settings of advantage actor-critic.

    Attributes:
      gamma: discount.
      gae_lambda: trace decay of the advantages.
      value_coefficient: weight of half the squared value error.
      entropy_coefficient: weight of the entropy bonus.
    """

    gamma: float = 0.99
    gae_lambda: float = 0.95
    value_coefficient: float = 0.5
    entropy_coefficient: float = 0.01

    def __post_init__(self) -> None:
        check_range(0.0, 1.0, gamma=self.gamma, gae_lambda=self.gae_lambda)
        check_range(
            0.0,
            float("inf"),
            value_coefficient=self.value_coefficient,
            entropy_coefficient=self.entropy_coefficient,
        )


def a2c(config: A2CConfig | None = None) -> UpdateRule:
    """Makes the A2C update rule.

    The loss is the mean of `-log pi(a|s) A + c_v (v - target)^2 / 2 - c_e H`.

    Reference: Mnih et al. 2016, arXiv:1602.01783, with the advantages of Schulman et al. 2016.
    """
    config = A2CConfig() if config is None else config

    def outputs(actions: int) -> Mapping[str, tuple[int, ...]]:
        return {LOGITS: (actions,), VALUE: ()}

    def targets(
        theta: Theta,
        state: RuleState,
        params: PyTree,
        apply: Apply,
        trajectory: Trajectory,
        progress: LifetimeProgress,
    ) -> tuple[Advantages, RuleState, dict[str, Array]]:
        del theta, progress
        v_tm1 = apply(params, trajectory.obs)[VALUE]
        v_t = apply(params, trajectory.next_obs)[VALUE]
        advantages = generalized_advantage_estimation(
            trajectory.reward,
            v_tm1,
            v_t,
            trajectory.terminated.astype(v_t.dtype),
            trajectory.done.astype(v_t.dtype),
            config.gamma,
            config.gae_lambda,
        )
        return jax.lax.stop_gradient(advantages), state, {}

    def loss(outputs: Outputs, trajectory: Trajectory, targets: Advantages) -> Array:
        policy = Categorical(outputs[LOGITS])
        # Both factors are [T, B]: an extra axis would broadcast credit over the whole rollout.
        gain = jnp.mean(policy.log_prob(trajectory.action) * targets.advantages)
        value_error = jnp.mean(value_loss(outputs[VALUE], targets.targets, outputs[VALUE]))
        entropy = jnp.mean(policy.entropy())
        return -gain + config.value_coefficient * value_error - config.entropy_coefficient * entropy

    def init(key: Key) -> tuple[()]:
        del key
        return ()

    return UpdateRule("a2c", init, outputs, empty_state, targets, loss)
