"""What a run of rule evolution is made of: one frozen dataclass, composed of its components'."""

from dataclasses import dataclass, field, replace
from typing import Literal

from metarl.core.errors import ConfigError, check_choice, check_positive, check_range
from metarl.estimators.full_es import FullESConfig
from metarl.inner.ppo_config import PPOConfig
from metarl.rules.learned_drift import LearnedDriftConfig

LARGEST_SEED = 2**32 - 1
"""Of a larger seed jax, without 64-bit numbers, would drop the upper bits in silence."""


def check_distinct(what: str, names: tuple[str, ...]) -> None:
    """Raises ConfigError if a name is there more than once."""
    for name in names:
        if names.count(name) > 1:
            raise ConfigError(f"{what} names {name!r} more than once.")


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
class OuterConfig:
    """How theta moves.

    Attributes:
      strategy: `adam` or `sgd` on the estimated gradient, or the name of an evosax strategy
        (`Open_ES`, `SNES`, `CMA_ES`, `PGPE`, ...), which then samples the population itself. What
        such a strategy has no use for is refused unless it has its default value.
      generations: outer steps.
      learning_rate: of adam and sgd, where None = 0.02; or of Adam on the mean of an evosax
        strategy, where None = its own step sizes.
      decay: factor on `learning_rate` after every generation.
      warm_up: generations in which the learning rate of adam and sgd rises in a line from zero.
      cosine_to: share of the learning rate of adam and sgd that is left after the last generation,
        to which it falls along half a cosine after the warm-up; None = it does not.
      max_grad_norm: global-norm clipping of the estimated gradient, for adam and sgd; None = off.
      average: decay, for each generation, of the exponential moving average of theta that is the
        result of the run; 0 = the last theta.
    """

    strategy: str = "adam"
    generations: int = 20
    learning_rate: float | None = None
    decay: float = 1.0
    warm_up: int = 0
    cosine_to: float | None = None
    max_grad_norm: float | None = None
    average: float = 0.0

    def __post_init__(self) -> None:
        check_positive(
            generations=self.generations,
            learning_rate=self.learning_rate,
            max_grad_norm=self.max_grad_norm,
        )
        check_range(1e-6, 1.0, decay=self.decay)
        check_range(0.0, 1.0, cosine_to=self.cosine_to)
        check_range(0.0, 0.999999, average=self.average)
        check_range(0, self.generations, warm_up=self.warm_up)


@dataclass(frozen=True)
class EvaluationConfig:
    """How the result is compared with hand-made rules, with equal settings for all.

    Attributes:
      envs: environments besides those of evolution; never seen by the learned rule.
      rules: hand-made rules to stand beside it.
      seeds: agents a rule and environment; not those of evolution.
      learner: on held-out environments, `tuned` = the settings that suit each of them (see
        `metarl.run.settings`), or `same` = those of evolution, whatever the environment.
      steps: environment steps of a lifetime on a held-out environment; None = the settings' own.
      horizons: multiples of the lifetime at which everything is compared once more.
    """

    envs: tuple[str, ...] = ()
    rules: tuple[str, ...] = ("ppo", "dpo")
    seeds: int = 16
    learner: Literal["tuned", "same"] = "tuned"
    steps: int | None = None
    horizons: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        check_positive(seeds=self.seeds, steps=self.steps)
        for horizon in self.horizons:
            check_positive(horizon=horizon)
        check_choice("evaluation.learner", self.learner, ("tuned", "same"))
        check_distinct("evaluation.envs", self.envs)
        check_distinct("evaluation.rules", self.rules)


@dataclass(frozen=True)
class LoopConfig:
    """How the run looks after itself.

    Attributes:
      look_every: generations in one compiled program, between two looks of the host.
      checkpoint_every: generations between checkpoints; a multiple of `look_every`.
      keep: checkpoints kept.
      devices: how many to use; None = all.
      chunk: lifetimes that run at once on each device; None = all. Bounds memory.
    """

    look_every: int = 1
    checkpoint_every: int = 1
    keep: int = 3
    devices: int | None = None
    chunk: int | None = None

    def __post_init__(self) -> None:
        check_positive(
            look_every=self.look_every,
            checkpoint_every=self.checkpoint_every,
            keep=self.keep,
            devices=self.devices,
            chunk=self.chunk,
        )
        if self.checkpoint_every % self.look_every:
            raise ConfigError(
                f"loop.checkpoint_every={self.checkpoint_every} is not a multiple of "
                f"loop.look_every={self.look_every}."
            )


@dataclass(frozen=True)
class EvolveRuleConfig:
    """A run that evolves a drift function (LPO).

    Attributes:
      seed: of everything.
      task: what lifetimes are lived on.
      learner: the actor-critic of one lifetime.
      rule: the drift network.
      es: the population and its lifetimes.
      outer: how theta moves.
      evaluation: what the result is compared with.
      loop: looks, checkpoints, devices.
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
        """Names of the environments of evolution."""
        return self.task.envs

    @property
    def lives_at_once(self) -> int:
        """Lifetimes that are laid out together: those on one environment."""
        return self.lifetimes // len(self.task.envs)

    @property
    def updates(self) -> int:
        """Updates of one lifetime in one generation."""
        return self.learner.updates

    @property
    def lifetimes(self) -> int:
        """Lifetimes lived in one generation."""
        return self.es.population * self.es.tasks * self.es.seeds * len(self.task.envs)

    @property
    def steps_per_generation(self) -> int:
        """Environment steps of one generation."""
        return self.lifetimes * self.learner.updates * self.learner.batch_size

    def stretched(self, horizon: float) -> "EvolveRuleConfig":
        """The run with lifetimes as many times as long."""
        steps = max(self.learner.batch_size, round(horizon * self.learner.total_steps))
        return replace(self, learner=replace(self.learner, total_steps=steps))
