"""What a run that meta-trains an update rule (LPG, TA-LPG, GROOVE) is made of."""

from dataclasses import dataclass, field, replace
from typing import Literal

from metarl.core.errors import ConfigError, check_choice, check_positive, check_range
from metarl.estimators.full_es import FullESConfig
from metarl.estimators.truncated_backprop import TruncatedBackpropConfig
from metarl.inner.meta_agent import MetaObjectiveConfig
from metarl.inner.rule_agent_config import RuleAgentConfig
from metarl.problems.config import (
    LARGEST_SEED,
    EvaluationConfig,
    LoopConfig,
    OuterConfig,
)
from metarl.rules.lpg_network import LPGConfig
from metarl.tasks.curricula.level_replay import LevelReplayConfig

SCORES = (
    "regret",
    "optimal_regret",
    "l1_value_loss",
    "positive_value_loss",
    "max_monte_carlo",
    "learnability",
)
"""What a curriculum may go by."""


@dataclass(frozen=True)
class LevelsConfig:
    """What agents live on, and for how long.

    Attributes:
      env: an environment that is a distribution over levels.
      lifetime: shortest and longest lifetime, in updates; log-uniform between them.
      window: with `es`, fitness is the mean return over this last fraction of a lifetime.
    """

    env: str = "grid/small"
    lifetime: tuple[int, int] = (250, 250)
    window: float = 0.2

    def __post_init__(self) -> None:
        check_positive(lifetime=self.lifetime[0])
        if self.lifetime[1] < self.lifetime[0]:
            raise ConfigError(
                f"levels.lifetime ends at {self.lifetime[1]}, before it begins at "
                f"{self.lifetime[0]}."
            )
        check_range(1e-6, 1.0, window=self.window)


@dataclass(frozen=True)
class CurriculumConfig:
    """Which levels agents get.

    Attributes:
      kind: `uniform`, or `replay` of levels that scored high (with backpropagation only).
      score: what a level is worth to learn on; `regret` is that of the learned agent against an
        advantage actor-critic with the same lifetime.
      score_steps: environment steps, of each environment, that measure it.
      replay: of `replay`.
    """

    kind: Literal["uniform", "replay"] = "uniform"
    score: Literal[
        "regret",
        "optimal_regret",
        "l1_value_loss",
        "positive_value_loss",
        "max_monte_carlo",
        "learnability",
    ] = "regret"
    score_steps: int = 100
    replay: LevelReplayConfig = field(default_factory=LevelReplayConfig)

    def __post_init__(self) -> None:
        check_choice("curriculum.kind", self.kind, ("uniform", "replay"))
        check_choice("curriculum.score", self.score, SCORES)
        check_positive(score_steps=self.score_steps)


@dataclass(frozen=True)
class MetaGradientConfig:
    """Meta-training by backpropagation through updates.

    Attributes:
      truncation: K, updates of one truncation window.
      unrolls: settings of the unrolls in progress.
      objective: settings of the meta-loss.
    """

    truncation: int = 5
    unrolls: TruncatedBackpropConfig = field(default_factory=TruncatedBackpropConfig)
    objective: MetaObjectiveConfig = field(default_factory=MetaObjectiveConfig)

    def __post_init__(self) -> None:
        check_positive(truncation=self.truncation)


@dataclass(frozen=True)
class TrainUpdateRuleConfig:
    """A run that meta-trains an update rule.

    Attributes:
      seed: of everything.
      levels: distribution over levels, and lifetimes.
      curriculum: which levels come when.
      agent: settings of the agents.
      rule: the rule's network.
      method: `backprop` through truncation windows of K updates, or `es` over whole lifetimes.
      backprop: of that method.
      es: of the other.
      outer: how theta moves.
      evaluation: what the result is compared with.
      loop: logging, checkpoints, devices.
    """

    seed: int = 0
    levels: LevelsConfig = field(default_factory=LevelsConfig)
    curriculum: CurriculumConfig = field(default_factory=CurriculumConfig)
    agent: RuleAgentConfig = field(default_factory=RuleAgentConfig)
    rule: LPGConfig = field(default_factory=LPGConfig)
    method: Literal["backprop", "es"] = "backprop"
    backprop: MetaGradientConfig = field(default_factory=MetaGradientConfig)
    es: FullESConfig = field(default_factory=FullESConfig)
    outer: OuterConfig = field(default_factory=OuterConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    loop: LoopConfig = field(default_factory=LoopConfig)

    def __post_init__(self) -> None:
        check_range(0, LARGEST_SEED, seed=self.seed)
        check_choice("method", self.method, ("backprop", "es"))
        if self.method == "es" and self.curriculum.kind != "uniform":
            raise ConfigError(
                "curriculum.kind='replay' needs method='backprop': evolution draws new levels for "
                "every generation."
            )

        if self.method == "backprop" and self.agent.replay_capacity:
            raise ConfigError(
                f"agent.replay_capacity={self.agent.replay_capacity} would be ignored: with "
                "method='backprop' an agent learns from every rollout once."
            )

    @property
    def trained_on(self) -> tuple[str, ...]:
        """Names of the environments of training."""
        return (self.levels.env,)

    @property
    def lifetimes(self) -> int:
        """Number of unrolls in one outer step."""
        if self.method == "backprop":
            return self.backprop.unrolls.num_parallel
        return self.es.population * self.es.tasks * self.es.seeds

    @property
    def num_parallel(self) -> int:
        """Number of unrolls that are batched together."""
        return self.lifetimes

    @property
    def updates(self) -> int:
        """Updates of one unroll in one outer step, with the rollout of the meta-loss."""
        return (
            self.backprop.truncation + 1 if self.method == "backprop" else self.levels.lifetime[1]
        )

    @property
    def steps_per_generation(self) -> int:
        """Environment steps of one outer step, on average.

        They include the training of the baseline agent of a regret curriculum, once per finished
        lifetime, and exclude the rollouts that score levels (`curriculum.score_steps`).
        """
        lived_again = self.backprop.truncation if self._trains_antagonists else 0
        return self.lifetimes * (self.updates + lived_again) * self.agent.batch_size

    def stretched(self, horizon: float) -> "TrainUpdateRuleConfig":
        """The config with lifetimes multiplied; a window of a whole lifetime stays one."""
        low, high = (max(1, round(horizon * updates)) for updates in self.levels.lifetime)
        whole = self.backprop.truncation == self.levels.lifetime[1]
        return replace(
            self,
            levels=replace(self.levels, lifetime=(low, high)),
            backprop=replace(self.backprop, truncation=high) if whole else self.backprop,
        )

    @property
    def _trains_antagonists(self) -> bool:
        replay = self.method == "backprop" and self.curriculum.kind == "replay"
        return replay and self.curriculum.score == "regret"
