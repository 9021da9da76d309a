"""Architecture and constants of a DiscoRL update rule."""

from dataclasses import dataclass

from metarl.core.errors import ConfigError, check_positive, check_range


@dataclass(frozen=True)
class DiscoConfig:
    """Settings of the rule; the defaults are Disco103's.

    Attributes:
      prediction_size: Y, entries of the agent's predictions `y` and `z`.
      bins: N, entries of the agent's categorical action-values.
      max_value: the bins span `[-max_value, max_value]` of signed-hyperbolic values.
      width: of the LSTM that reads a trajectory backwards.
      lifetime_width: of the LSTM that makes one step an update and lasts as long as the agent.
      embedding: hidden width of the networks that embed `y` and `z`, and of the lifetime's inputs.
      action_channels: hidden and output width of the network that embeds actions.
      policy_channels: hidden width under the policy's target.
      gamma: discount of the action-values.
      trace_decay: lambda of Retrace.
      target_decay: share of the old target parameters that an update keeps.
      moments_decay: of the averages that normalise advantages.
      moments_eps: added to a standard deviation before dividing by it.
      policy_cost: weight of the policy's divergence from its target.
      y_cost: of `y`'s.
      z_cost: of `z`'s, at the action taken.
      next_policy_cost: of the prediction of the next step's policy.
      value_cost: of the cross-entropy of the action-values.
      input_gradient: whether a meta-gradient also flows through the predictions `y` and `z` that
        the rule reads, as in its meta-training; without it, which needs much less memory, only
        through what the rule makes of them.
    """

    prediction_size: int = 600
    bins: int = 601
    max_value: float = 300.0
    width: int = 256
    lifetime_width: int = 128
    embedding: int = 16
    action_channels: tuple[int, int] = (16, 2)
    policy_channels: int = 16
    gamma: float = 0.997
    trace_decay: float = 0.95
    target_decay: float = 0.9
    moments_decay: float = 0.99
    moments_eps: float = 1e-6
    policy_cost: float = 1.0
    y_cost: float = 1.0
    z_cost: float = 1.0
    next_policy_cost: float = 1.0
    value_cost: float = 0.2
    input_gradient: bool = False

    def __post_init__(self) -> None:
        check_positive(
            prediction_size=self.prediction_size,
            max_value=self.max_value,
            width=self.width,
            lifetime_width=self.lifetime_width,
            embedding=self.embedding,
            action_hidden=self.action_channels[0],
            action_embedding=self.action_channels[1],
            policy_channels=self.policy_channels,
            moments_eps=self.moments_eps,
        )
        if self.bins < 2:
            raise ConfigError(f"bins must be at least 2, got {self.bins}.")
        check_range(
            0.0,
            1.0,
            gamma=self.gamma,
            trace_decay=self.trace_decay,
            target_decay=self.target_decay,
            moments_decay=self.moments_decay,
        )
        check_range(
            0.0,
            float("inf"),
            policy_cost=self.policy_cost,
            y_cost=self.y_cost,
            z_cost=self.z_cost,
            next_policy_cost=self.next_policy_cost,
            value_cost=self.value_cost,
        )
