"""Sections that the configs of several problems share, and what a run needs of any config."""

from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Protocol, Self

from metarl.core.errors import ConfigError, check_choice, check_positive, check_range

LARGEST_SEED = 2**32 - 1
"""Of a larger seed jax, without 64-bit numbers, would drop the upper bits in silence."""


def check_distinct(what: str, names: tuple[str, ...]) -> None:
    """Raises ConfigError if a name is there more than once."""
    for name in names:
        if names.count(name) > 1:
            raise ConfigError(f"{what} names {name!r} more than once.")


@dataclass(frozen=True)
class OuterConfig:
    """How theta moves.

    Attributes:
      optimizer: `adam` or `sgd` on the estimated gradient, or the name of an evosax strategy
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

    optimizer: str = "adam"
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
    """How the result is compared with handcrafted rules, with equal settings for all.

    Attributes:
      envs: held-out environments, not part of meta-training.
      rules: handcrafted rules to stand beside it.
      seeds: agents a rule and environment; not those of training.
      learner: on held-out environments, `tuned` = the settings that suit each of them (see
        `metarl.problems.agent_settings`), or `same` = those of training, whatever the environment.
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
    """Logging, checkpoints and devices of a run.

    Attributes:
      log_every: generations in one compiled program, between two logs.
      checkpoint_every: generations between checkpoints; a multiple of `log_every`.
      keep: checkpoints kept.
      devices: how many to use; None = all.
      chunk: lifetimes that run at once on each device; None = all. Bounds memory.
    """

    log_every: int = 1
    checkpoint_every: int = 1
    keep: int = 3
    devices: int | None = None
    chunk: int | None = None

    def __post_init__(self) -> None:
        check_positive(
            log_every=self.log_every,
            checkpoint_every=self.checkpoint_every,
            keep=self.keep,
            devices=self.devices,
            chunk=self.chunk,
        )
        if self.checkpoint_every % self.log_every:
            raise ConfigError(
                f"loop.checkpoint_every={self.checkpoint_every} is not a multiple of "
                f"loop.log_every={self.log_every}."
            )


class RunConfig(Protocol):
    """What a run reads of the config of any problem, a frozen dataclass.

    Attributes:
      seed: root of all random numbers.
      outer: how theta is updated.
      loop: logging, checkpoints, devices.
    """

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def seed(self) -> int: ...  # noqa: D102

    @property
    def outer(self) -> OuterConfig: ...  # noqa: D102

    @property
    def loop(self) -> LoopConfig: ...  # noqa: D102

    @property
    def trained_on(self) -> tuple[str, ...]:
        """Names of the environments or families of meta-training."""
        ...

    @property
    def lifetimes(self) -> int:
        """Number of inner training runs in one outer step."""
        ...

    @property
    def num_parallel(self) -> int:
        """Number of inner training runs that are batched together."""
        ...

    @property
    def updates(self) -> int:
        """Inner updates of one training run in one outer step."""
        ...

    @property
    def steps_per_generation(self) -> int:
        """Environment steps, or inner updates, of one outer step."""
        ...

    def stretched(self, horizon: float) -> Self:
        """The config with lifetimes multiplied by `horizon`."""
        ...
