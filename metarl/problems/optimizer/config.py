"""What a run that meta-trains an optimizer is made of."""

from dataclasses import dataclass, field, replace
from typing import Literal

from metarl.core.errors import ConfigError, check_choice, check_positive, check_range
from metarl.estimators.antithetic import AntitheticTruncatedESConfig
from metarl.estimators.full_es import FullESConfig
from metarl.estimators.truncated_backprop import TruncatedBackpropConfig
from metarl.problems.config import LARGEST_SEED, LoopConfig, OuterConfig, check_distinct
from metarl.problems.optimizer.architectures import ArchitectureConfig
from metarl.problems.optimizer.trial import TrialConfig

METHODS = ("es", "truncated_es", "pes", "noise_reuse", "backprop")
"""Where the outer gradient may come from."""

Method = Literal["es", "truncated_es", "pes", "noise_reuse", "backprop"]


@dataclass(frozen=True)
class TrainingTasksConfig:
    """What networks are trained on, and for how long.

    Attributes:
      families: of tasks, see `metarl.tasks.families.names`; the meta-loss is the mean over them.
      lifetime: shortest and longest training, in updates; log-uniform between them.
      growing: outer steps in which trainings grow from the shortest to the longest, instead of
        being of any length from the first; 0 = they do not. Not for `es`.
      jitter: lengths of growing trainings spread by the factors `exp(-jitter)` to `exp(jitter)`.
    """

    families: tuple[str, ...] = ("quadratic",)
    lifetime: tuple[int, int] = (100, 100)
    growing: int = 0
    jitter: float = 0.0

    def __post_init__(self) -> None:
        if not self.families:
            raise ConfigError("tasks.families is empty: name at least one family.")
        check_distinct("tasks.families", self.families)
        check_positive(lifetime=self.lifetime[0])
        if self.lifetime[1] < self.lifetime[0]:
            raise ConfigError(
                f"tasks.lifetime ends at {self.lifetime[1]}, before it begins at "
                f"{self.lifetime[0]}."
            )
        check_range(0, 1e9, growing=self.growing)
        check_range(0.0, 5.0, jitter=self.jitter)
        if self.jitter and not self.growing:
            raise ConfigError(f"tasks.jitter={self.jitter} would be ignored with tasks.growing=0.")


@dataclass(frozen=True)
class MetaLossConfig:
    """What makes a training good.

    Attributes:
      truncation: K, updates of one truncation window; not for `es`, which unrolls whole trainings.
      reduce: of the losses after each update, the `mean` (the area under the curve), the `last` or
        the `least` of a part; or the `final` one of the whole training, and nothing before it.
      data: what losses are measured on: the `batch` of the update, before it and for nothing;
        a `fresh` one, after it; or data that are `held_out`.
    """

    truncation: int = 50
    reduce: Literal["mean", "last", "least", "final"] = "mean"
    data: Literal["batch", "fresh", "held_out"] = "batch"

    def __post_init__(self) -> None:
        check_positive(truncation=self.truncation)
        check_choice("meta_loss.reduce", self.reduce, ("mean", "last", "least", "final"))
        check_choice("meta_loss.data", self.data, ("batch", "fresh", "held_out"))


@dataclass(frozen=True)
class OptimizerEvaluationConfig:
    """How the result is compared with handcrafted optimizers.

    Attributes:
      families: families of tasks besides those of meta-training; never seen.
      horizons: multiples of the number of updates at which families of training are compared once
        more.
      trial: how long, on how many tasks, and against what. Tasks are not those of meta-training.
      validation: tasks of each family of training on which theta is tried at every checkpoint, for
        as long as `trial.steps`; 0 = none.
    """

    families: tuple[str, ...] = ()
    horizons: tuple[float, ...] = ()
    trial: TrialConfig = field(default_factory=TrialConfig)
    validation: int = 8

    def __post_init__(self) -> None:
        check_distinct("evaluation.families", self.families)
        for horizon in self.horizons:
            check_positive(horizon=horizon)
        check_range(0, 1e9, validation=self.validation)


@dataclass(frozen=True)
class TrainOptimizerConfig:
    """A run that meta-trains an optimizer.

    Attributes:
      seed: of everything.
      tasks: what networks are trained on.
      optimizer: what is learned.
      meta_loss: what makes a training good.
      method: whole trainings under evolution strategies (`es`), or trainings in parts:
        `truncated_es` (biased to what pays off within a part), `pes`, `noise_reuse`, `backprop`.
      es: of that method.
      pairs: of `truncated_es`, `pes` and `noise_reuse`; of each family.
      backprop: of that method; of each family.
      outer: how theta moves.
      evaluation: what the result is compared with.
      loop: logging, checkpoints, devices.
    """

    seed: int = 0
    tasks: TrainingTasksConfig = field(default_factory=TrainingTasksConfig)
    optimizer: ArchitectureConfig = field(default_factory=ArchitectureConfig)
    meta_loss: MetaLossConfig = field(default_factory=MetaLossConfig)
    method: Method = "pes"
    es: FullESConfig = field(default_factory=FullESConfig)
    pairs: AntitheticTruncatedESConfig = field(default_factory=AntitheticTruncatedESConfig)
    backprop: TruncatedBackpropConfig = field(default_factory=TruncatedBackpropConfig)
    outer: OuterConfig = field(default_factory=OuterConfig)
    evaluation: OptimizerEvaluationConfig = field(default_factory=OptimizerEvaluationConfig)
    loop: LoopConfig = field(default_factory=LoopConfig)

    def __post_init__(self) -> None:
        check_range(0, LARGEST_SEED, seed=self.seed)
        check_choice("method", self.method, METHODS)
        low, high = self.tasks.lifetime
        if self.method == "es" and self.tasks.growing:
            raise ConfigError(
                f"tasks.growing={self.tasks.growing} is not for method='es', whose trainings are "
                "of one length."
            )
        if self.method == "es" and low != high:
            raise ConfigError(
                f"tasks.lifetime={low} {high}: method='es' unrolls whole trainings, batched, "
                "which must be of one length."
            )
        if self.method != "es" and self.meta_loss.truncation > high:
            raise ConfigError(
                f"meta_loss.truncation={self.meta_loss.truncation} is longer than the longest "
                f"training, tasks.lifetime={low} {high}."
            )

    @property
    def trained_on(self) -> tuple[str, ...]:
        """Names of the families of meta-training."""
        return self.tasks.families

    @property
    def num_parallel(self) -> int:
        """Trainings that are laid out together: those on one family."""
        if self.method == "es":
            return self.es.population * self.es.tasks * self.es.seeds
        if self.method == "backprop":
            return self.backprop.num_parallel
        return self.pairs.num_parallel * self.pairs.pairs

    @property
    def lifetimes(self) -> int:
        """Trainings under way in one outer step."""
        in_pairs = 1 if self.method in ("es", "backprop") else 2
        return self.num_parallel * in_pairs * len(self.tasks.families)

    @property
    def updates(self) -> int:
        """Updates of one training in one outer step."""
        return self.tasks.lifetime[1] if self.method == "es" else self.meta_loss.truncation

    @property
    def steps_per_generation(self) -> int:
        """Updates of all trainings in one outer step."""
        return self.lifetimes * self.updates

    def stretched(self, horizon: float) -> "TrainOptimizerConfig":
        """The run with trainings as many times as long; a part that was a whole one stays one."""
        low, high = (max(1, round(horizon * updates)) for updates in self.tasks.lifetime)
        whole = self.meta_loss.truncation == self.tasks.lifetime[1]
        return replace(
            self,
            tasks=replace(self.tasks, lifetime=(low, high)),
            meta_loss=replace(self.meta_loss, truncation=high) if whole else self.meta_loss,
        )
