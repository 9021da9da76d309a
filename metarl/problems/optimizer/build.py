"""The problem of meta-training an optimizer on families of tasks."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import jax

from metarl import optimizers
from metarl.core.contracts import Curriculum, Estimator, Unroll
from metarl.core.keys import named
from metarl.core.mesh import Layout
from metarl.core.meta_loss import MetaLoss
from metarl.core.types import Key, Theta
from metarl.estimators.mean_estimator import MeanEstimator
from metarl.estimators.noise_reuse_es import NoiseReuseES
from metarl.estimators.pes import PES
from metarl.estimators.truncated_backprop import TruncatedBackprop
from metarl.estimators.truncated_es import TruncatedES
from metarl.evaluation.measures import TRAINING_LOSS
from metarl.evaluation.report import Picture
from metarl.evaluation.results import EnvironmentResult
from metarl.inner.training import Score, Training
from metarl.inner.training_meta_loss import (
    Reduce,
    end_meta_loss,
    final_meta_loss,
    fresh_loss,
    held_out_loss,
    last_loss,
    mean_loss,
    min_loss,
    training_truncation,
    window_meta_loss,
)
from metarl.optimizers.kernel_choices import kernel_choices
from metarl.optimizers.protocol import InnerOptimizer
from metarl.outer.gradient import GradientMetaOptimizer
from metarl.outer.protocol import MetaOptimizer
from metarl.problems.optimizer.architectures import inner_optimizer
from metarl.problems.optimizer.config import TrainOptimizerConfig
from metarl.problems.optimizer.pictures import Validation, update_picture, validation_picture
from metarl.problems.optimizer.trial import OptimizerCandidate, TrialConfig, compare_optimizers
from metarl.problems.outer import es_meta_optimizer, gradient_rule
from metarl.problems.protocol import LEARNED, START, Problem, horizon_name
from metarl.tasks import families
from metarl.tasks.curricula.scheduled import ScheduledLifetimes, growing
from metarl.tasks.curricula.uniform import Uniform
from metarl.tasks.family import TaskFamily
from metarl.tasks.lifetimes import Lifetimes

_REDUCE: Mapping[str, Reduce] = {
    "mean": mean_loss,
    "last": last_loss,
    "least": min_loss,
    "final": last_loss,  # of a whole training
}
_SCORES: Mapping[str, Callable[[TaskFamily], Score] | None] = {
    "batch": None,
    "fresh": fresh_loss,
    "held_out": held_out_loss,
}
_PAIRED: Mapping[str, type[TruncatedES] | type[PES] | type[NoiseReuseES]] = {
    "truncated_es": TruncatedES,
    "pes": PES,
    "noise_reuse": NoiseReuseES,
}


def optimizer_problem(config: TrainOptimizerConfig, layout: Layout) -> Problem:
    """Builds the problem; what only its last part will need is made and checked here too.

    Raises:
      ConfigError: an unknown family, or an architecture that does not fit its parameters.
      ArtifactError: a data set cannot be had.
    """
    optimizer = inner_optimizer(config.optimizer)
    seen = [families.make(name) for name in config.tasks.families]
    with kernel_choices() as kernels:
        learners = [_learner(family, optimizer, config) for family in seen]
    key = named(jax.random.key(config.seed), "validation")
    validation = Validation(seen, optimizer, config.evaluation, key, layout)
    meta = _meta(config, learners, layout)
    return Problem(
        init=optimizer.init,
        meta=meta,
        comparisons=_comparisons(config, seen, optimizer),
        artifact_kind="optimizer",
        description="it turns the gradients of a network in training into updates",
        save=lambda path, theta, card: optimizers.save(
            path,
            theta,
            config.optimizer.chosen,
            card,
            config.optimizer.mup,
            config.optimizer.assumed_steps,
        ),
        example_code="import metarl.optimizers\n"
        "tx = metarl.optimizers.load({path!r}, num_steps=10_000"
        + (", multipliers=multipliers" if config.optimizer.mup else "")
        + ")  # an optax transformation",
        example_command="metarl score {path} adam adamw sgd --family mlp/digits --steps 1000",
        pictures=partial(_pictures, config, optimizer),
        observe=lambda state: validation(meta.theta(state)),
        measure=TRAINING_LOSS,
        kernels=kernels,
    )


def _learner(
    family: TaskFamily, optimizer: InnerOptimizer, config: TrainOptimizerConfig
) -> Training:
    learner = Training(
        family, optimizer, None if _scored_at_ends(config) else _score(family, config)
    )
    # Refuses what does not fit before anything compiles.
    tasks = Lifetimes(family, *config.tasks.lifetime)

    def one_update(key: Key) -> Any:
        theta, task = optimizer.init(key), tasks.sample(key)
        return learner.step(key, theta, task, learner.init(key, theta, task))

    jax.eval_shape(one_update, jax.random.key(0))
    return learner


def _score(family: TaskFamily, config: TrainOptimizerConfig) -> Score | None:
    make = _SCORES[config.meta_loss.data]
    return None if make is None else make(family)


def _scored_at_ends(config: TrainOptimizerConfig) -> bool:
    """Whether losses need not be measured after every update, but only where parts end."""
    return config.method != "es" and config.meta_loss.reduce in ("last", "final")


def _meta_loss(family: TaskFamily, config: TrainOptimizerConfig) -> MetaLoss:
    reduce, score = config.meta_loss.reduce, _score(family, config)
    if reduce == "final":
        return final_meta_loss(score)
    if score is not None and _scored_at_ends(config):
        return end_meta_loss(score)
    return window_meta_loss(_REDUCE[reduce])


def _meta(config: TrainOptimizerConfig, learners: list[Training], layout: Layout) -> MetaOptimizer:
    reduce, length = _REDUCE[config.meta_loss.reduce], config.tasks.lifetime[1]
    tasks = [Lifetimes(learner.family, *config.tasks.lifetime) for learner in learners]
    if config.method == "es":
        unrolls = (
            Unroll(task, learner, length, reduce)
            for task, learner in zip(tasks, learners, strict=True)
        )
        return es_meta_optimizer(config.es, config.outer, tuple(unrolls), layout)
    truncation = config.meta_loss.truncation

    def estimator(learner: Training, task: Lifetimes) -> Estimator:
        meta_loss, curriculum = _meta_loss(learner.family, config), _curriculum(config, task)
        parts = training_truncation(learner, truncation, meta_loss)
        if config.method == "backprop":
            return TruncatedBackprop(config.backprop, parts, curriculum, layout)
        return _PAIRED[config.method](config.pairs, parts, curriculum, layout)

    found = tuple(map(estimator, learners, tasks))
    together = found[0] if len(found) == 1 else MeanEstimator(found)
    return GradientMetaOptimizer(together, gradient_rule(config.outer))


def _curriculum(config: TrainOptimizerConfig, tasks: Lifetimes) -> Curriculum:
    if not config.tasks.growing:
        return Uniform(tasks)
    schedule = growing(*config.tasks.lifetime, config.tasks.growing)
    return ScheduledLifetimes(Uniform(tasks.tasks), schedule, config.tasks.jitter)


@dataclass(frozen=True)
class OptimizerComparison:
    """A comparison of optimizers on tasks of a family; see `metarl.problems.protocol.Comparison`.

    Attributes:
      name: of the family, and of what else tells this comparison from others.
      family: where tasks come from.
      held_out: whether it is none of those of meta-training, or trained for longer.
      optimizer: the learned one.
      trial: how long, how many, and against what.
    """

    name: str
    family: TaskFamily
    held_out: bool
    optimizer: InnerOptimizer
    trial: TrialConfig

    def measure(self, theta: Theta, start: Theta, key: Key, layout: Layout) -> EnvironmentResult:
        """Trains networks with what was learned, with its start, and with tuned baselines."""
        candidates = {
            LEARNED: OptimizerCandidate(self.optimizer, theta),
            START: OptimizerCandidate(self.optimizer, start),
        }
        family = replace(self.family, name=self.name)
        return compare_optimizers(family, candidates, self.trial, key, self.held_out, layout)


def _comparisons(
    config: TrainOptimizerConfig, seen: list[TaskFamily], optimizer: InnerOptimizer
) -> tuple[OptimizerComparison, ...]:
    evaluation, longest = config.evaluation, config.tasks.lifetime[1]
    unseen = [families.make(n) for n in evaluation.families if n not in config.tasks.families]
    found = []
    stretched = [h for h in evaluation.horizons if h != 1.0]
    entries = [(family, horizon) for family in seen for horizon in (1.0, *stretched)]
    for family, horizon in (*entries, *((family, 1.0) for family in unseen)):
        steps = max(1, round(horizon * evaluation.trial.steps))
        trial = replace(evaluation.trial, steps=steps)
        held_out = family not in seen or steps > longest
        name = horizon_name(family.name, horizon)
        found.append(OptimizerComparison(name, family, held_out, optimizer, trial))
    return tuple(found)


def _pictures(
    config: TrainOptimizerConfig,
    optimizer: InnerOptimizer,
    theta: Theta,
    rows: list[dict[str, Any]],
) -> dict[str, Picture]:
    start = optimizer.init(named(jax.random.key(config.seed), "theta"))
    shown = update_picture(optimizer, {LEARNED: theta, START: start}, config.tasks.lifetime[1])
    return shown | validation_picture(rows, config.tasks.families)
