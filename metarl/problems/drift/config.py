"""Config of a run that meta-learns a drift function."""

from dataclasses import dataclass, field, replace

from metarl.core.errors import ConfigError, check_range
from metarl.estimators.full_es import FullESConfig
from metarl.inner.ppo_config import PPOConfig
from metarl.problems.config import (
    LARGEST_SEED,
    EvaluationConfig,
    LoopConfig,
    OuterConfig,
    check_distinct,
)
from metarl.rules.learned_drift import LearnedDriftConfig


@dataclass(frozen=True)
class TaskConfig:
    """What the rule is evolved on.

    Attributes:
      envs: environments; fitness is shaped within each, then averaged, so all count alike.
      window: fitness is the mean return over this last fraction of a lifetime.
    """

    envs: tuple[str, ...] = ("gymnax/CartPole-v1",)
    window: float = 0.25

    def __post_init__(self) -> None:
        if not self.envs:
            raise ConfigError("task.envs is empty: name at least one environment.")
        check_distinct("task.envs", self.envs)
        check_range(1e-6, 1.0, window=self.window)


@dataclass(frozen=True)
class EvolveRuleConfig:
    """A run that evolves a drift function (LPO).

    Attributes:
      seed: of everything.
      task: environments of meta-training.
      learner: the actor-critic of one lifetime.
      rule: the drift network.
      es: the population and its lifetimes.
      outer: how theta moves.
      evaluation: what the result is compared with.
      loop: logging, checkpoints, devices.
    """

    seed: int = 0
    task: TaskConfig = field(default_factory=TaskConfig)
    learner: PPOConfig = field(default_factory=PPOConfig)
    rule: LearnedDriftConfig = field(default_factory=LearnedDriftConfig)
    es: FullESConfig = field(default_factory=FullESConfig)
    outer: OuterConfig = field(default_factory=OuterConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    loop: LoopConfig = field(default_factory=LoopConfig)

    def __post_init__(self) -> None:
        check_range(0, LARGEST_SEED, seed=self.seed)

    @property
    def trained_on(self) -> tuple[str, ...]:
        """Names of the environments of training."""
        return self.task.envs

    @property
    def num_parallel(self) -> int:
        """Lifetimes that are laid out together: those on one environment."""
        return self.lifetimes // len(self.task.envs)

    @property
    def updates(self) -> int:
        """Updates of one lifetime in one generation."""
        return self.learner.updates

    @property
    def lifetimes(self) -> int:
        """Lifetimes in one generation."""
        return self.es.population * self.es.tasks * self.es.seeds * len(self.task.envs)

    @property
    def steps_per_generation(self) -> int:
        """Environment steps of one generation."""
        return self.lifetimes * self.learner.updates * self.learner.batch_size

    def stretched(self, horizon: float) -> "EvolveRuleConfig":
        """The run with lifetimes as many times as long."""
        return replace(self, learner=self.learner.stretched(horizon))
