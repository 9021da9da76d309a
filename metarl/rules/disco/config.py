"""Architecture and constants of a DiscoRL update rule."""

from dataclasses import dataclass

from metarl.core.errors import ConfigError, check_positive, check_range


@dataclass(frozen=True)
class DiscoConfig:
    """Settings of the rule; the defaults are Disco103's.

    Attributes:
      prediction_size: size Y of the agent's predictions `y` and `z`.
      bins: number N of bins of the agent's categorical action-values.
      max_value: bound of the bins, which span `[-max_value, max_value]` (signed-hyperbolic values).
      width: width of the LSTM that runs backward over a trajectory.
      lifetime_width: width of the lifetime LSTM, which makes one step per update.
      embedding: hidden width of the networks that embed `y` and `z`, and of the lifetime LSTM's
        inputs.
      action_channels: hidden and output width of the network that embeds actions.
      policy_channels: hidden width of the policy target's head.
      gamma: discount of the action-values.
      trace_decay: trace decay lambda of Retrace.
      target_decay: decay of the exponential moving average of the target parameters.
      moments_decay: decay of the moving moments that normalize advantages.
      moments_eps: constant added to a standard deviation before dividing by it.
      policy_cost: weight of the divergence of the policy from its target.
      y_cost: weight of the divergence of `y`.
      z_cost: weight of the divergence of `z`, at the action taken.
      next_policy_cost: weight of the divergence of the prediction of the next step's policy.
      value_cost: weight of the cross-entropy of the action-values.
      input_gradient: whether the meta-gradient also flows through the predictions `y` and `z` that
        the meta-network reads, as in its meta-training; otherwise it flows only through the
        meta-network's outputs, which needs much less memory.
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
