"""Settings of PPO."""

from dataclasses import dataclass, field, replace
from typing import Literal

from metarl.core.errors import ConfigError, check_choice, check_positive, check_range
from metarl.networks.actor_critic import NetworkConfig


@dataclass(frozen=True)
class PPOConfig:
    """Settings of PPO, except for the drift.

    `learning_rate`, `adam_betas`, `schedule` and `max_grad_norm` are settings of Adam; a learner
    with another optimizer ignores them.

    Attributes:
      total_steps: environment steps of one lifetime, over all its environments.
      num_envs: number B of parallel environments.
      rollout_length: number T of steps of each environment between two updates.
      epochs: passes over a batch per update.
      minibatches: number of minibatches per epoch, one gradient step each; must divide `B * T`.
      learning_rate: learning rate of Adam.
      adam_betas: decay rates of Adam's first and second moments.
      schedule: learning rate schedule, `constant`, or `linear` to zero over the lifetime.
      gamma: discount.
      gae_lambda: trace decay of the advantages.
      value_coefficient: weight of the value loss (half squared error).
      value_clip: clipping range, see `metarl.rl.losses.value_loss`; None = off.
      entropy_coefficient: weight of the entropy bonus.
      max_grad_norm: maximum global norm of the gradient; None = no clipping.
      normalize_advantage: whether advantages are standardized in each minibatch.
      normalize_observation: whether observations are normalized by running moments.
      normalize_reward: whether rewards are divided by the running standard deviation of the
        discounted return.
      network: architecture of the networks.
    """

    total_steps: int = 500_000
    num_envs: int = 4
    rollout_length: int = 128
    epochs: int = 4
    minibatches: int = 4
    learning_rate: float = 2.5e-4
    adam_betas: tuple[float, float] = (0.9, 0.999)
    schedule: Literal["constant", "linear"] = "linear"
    gamma: float = 0.99
    gae_lambda: float = 0.95
    value_coefficient: float = 0.5
    value_clip: float | None = None
    entropy_coefficient: float = 0.01
    max_grad_norm: float | None = 0.5
    normalize_advantage: bool = True
    normalize_observation: bool = False
    normalize_reward: bool = False
    network: NetworkConfig = field(default_factory=NetworkConfig)

    def __post_init__(self) -> None:
        check_positive(
            total_steps=self.total_steps,
            num_envs=self.num_envs,
            rollout_length=self.rollout_length,
            epochs=self.epochs,
            minibatches=self.minibatches,
            learning_rate=self.learning_rate,
            value_clip=self.value_clip,
            max_grad_norm=self.max_grad_norm,
        )
        check_range(0.0, 1.0, gamma=self.gamma, gae_lambda=self.gae_lambda)
        for beta in self.adam_betas:
            check_range(0.0, 0.999999, adam_betas=beta)
        check_range(
            0.0,
            float("inf"),
            value_coefficient=self.value_coefficient,
            entropy_coefficient=self.entropy_coefficient,
        )
        check_choice("schedule", self.schedule, ("constant", "linear"))
        if self.batch_size % self.minibatches:
            raise ConfigError(
                f"minibatches={self.minibatches} does not divide the batch of "
                f"num_envs * rollout_length = {self.batch_size} steps."
            )
        if self.total_steps < self.batch_size:
            raise ConfigError(
                f"total_steps={self.total_steps} is less than one batch of {self.batch_size} steps."
            )

    @property
    def batch_size(self) -> int:
        """Environment steps between two updates."""
        return self.num_envs * self.rollout_length

    def stretched(self, horizon: float) -> "PPOConfig":
        """The settings with the lifetime multiplied by `horizon`, to at least one update."""
        steps = max(self.batch_size, round(horizon * self.total_steps))
        return replace(self, total_steps=steps)

    @property
    def updates(self) -> int:
        """Number of updates in a lifetime: rollouts, each followed by its epochs."""
        return self.total_steps // self.batch_size
