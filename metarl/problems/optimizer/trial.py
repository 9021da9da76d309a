"""Optimizers against each other on tasks of a family, and against tuned baselines.

All get the same tasks, initial networks and batches, so that they are compared task by task. The
baselines' learning rates are chosen on the very tasks on which they are then compared: that favours
them, and so makes what is said of a learned optimizer cautious.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from metarl.core.errors import ConfigError, check_choice, check_positive
from metarl.core.mesh import Layout
from metarl.core.types import Key, Theta
from metarl.evaluation.measures import HELD_OUT_LOSS, SPEEDUP, TRAINING_LOSS
from metarl.evaluation.results import EnvironmentResult
from metarl.optimizers.protocol import InnerOptimizer
from metarl.problems.optimizer.baselines import BASELINES, CONSTANT, RATES, baseline
from metarl.problems.optimizer.envelope import (
    Envelope,
    bottom_envelope,
    exponential_moving_average,
)
from metarl.problems.optimizer.speedup import task_speedups
from metarl.problems.optimizer.training_curves import (
    TrainingCurves,
    evaluation_steps,
    training_program,
)
from metarl.tasks.family import TaskFamily


@dataclass(frozen=True)
class TrialConfig:
    """How optimizers are compared.

    Attributes:
      steps: updates of each training.
      tasks: N, tasks of the family; a score is of one task.
      seeds: networks on each task; a score is their mean.
      baselines: handcrafted optimizers beside the others, each with the best of `rates`.
      rates: learning rates that are tried.
      reach: the baselines train this many times as long, so that a speed-up up to it can be seen.
      points: of the curves, beside the start.
    """

    steps: int = 1000
    tasks: int = 16
    seeds: int = 1
    baselines: tuple[str, ...] = CONSTANT
    rates: tuple[float, ...] = RATES
    reach: int = 4
    points: int = 50

    def __post_init__(self) -> None:
        check_positive(
            steps=self.steps,
            tasks=self.tasks,
            seeds=self.seeds,
            reach=self.reach,
            points=self.points,
        )
        for name in self.baselines:
            check_choice("baseline", name, BASELINES)
        if self.baselines and not self.rates:
            raise ConfigError("Baselines need rates to be tuned with; rates is empty.")
        for i, rate in enumerate(self.rates):
            check_positive(**{f"rates[{i}]": rate})


class OptimizerCandidate(NamedTuple):
    """An optimizer with its meta-parameters; those that share the first share one program."""

    optimizer: InnerOptimizer
    theta: Theta = ()


class BaselineGrid(NamedTuple):
    """Baselines at every learning rate.

    Attributes:
      curves: name -> curves with a member for every rate.
      rates: learning rates.
    """

    curves: dict[str, TrainingCurves]
    rates: tuple[float, ...]

    def envelopes(self, ema: float = 0.0) -> list[Envelope]:
        """Of each task: the best of all baselines whose steps are constant, rates and seeds.

        Args:
          ema: smoothing of the curves before, see `exponential_moving_average`.
        """
        chosen = {name: x for name, x in self.curves.items() if name in CONSTANT}
        if not chosen:
            raise ConfigError(f"An envelope needs a baseline out of {', '.join(CONSTANT)}.")
        steps = next(iter(chosen.values())).steps
        # Rates, tasks, seeds, evaluations -> tasks, all else, evaluations.
        losses = np.concatenate([x.training for x in chosen.values()], axis=0).swapaxes(0, 1)
        smooth = exponential_moving_average(losses, ema)
        return [bottom_envelope(steps, task) for task in smooth]

    def best(self, name: str, evaluations: int) -> int:
        """Number of the rate with the least mean loss at an evaluation, no diverged one."""
        final = self.curves[name].training_scaled[..., evaluations - 1].reshape(len(self.rates), -1)
        mean = np.where(np.isfinite(final).all(axis=1), final.mean(axis=1), np.inf)
        return int(np.argmin(mean))


def run_grid(family: TaskFamily, config: TrialConfig, key: Key, layout: Layout) -> BaselineGrid:
    """Trains with every baseline at every rate, the constant ones `reach` times as long."""
    rates, found = jnp.asarray(config.rates, jnp.float32), {}
    short = evaluation_steps(config.steps, config.points)
    # The first evaluations of a long training are those of the short one.
    long = np.concatenate([short, *(short[1:] + i * config.steps for i in range(1, config.reach))])
    for name in config.baselines:
        eval_steps = long if name in CONSTANT else short
        program = training_program(
            family, baseline(name), rates.size, eval_steps, config.tasks, config.seeds, layout
        )
        found[name] = program(key, rates)
    return BaselineGrid(found, config.rates)


def compare_optimizers(
    family: TaskFamily,
    candidates: Mapping[str, OptimizerCandidate],
    config: TrialConfig,
    key: Key,
    held_out: bool = False,
    layout: Layout | None = None,
    envelopes: Sequence[Envelope] | None = None,
) -> EnvironmentResult:
    """Trains networks on tasks of a family with every candidate and every baseline.

    Args:
      family: where tasks come from.
      candidates: name -> optimizer.
      config: how long, how many, and against what.
      key: randomness of everything; other tasks with another key.
      held_out: whether the learned candidates have never seen this family.
      layout: how networks are laid over devices; default: every device of this machine.
      envelopes: for speed-ups, one a task; default: of the baselines that are trained here.

    Returns:
      Curves and last values `[N]` of the training loss, and as further measures the loss on
      held-out data and, where baselines make an envelope, the speed-up. Losses are as the family
      normalises them; speed-ups are of raw training losses.

    Raises:
      ConfigError: no candidate, a candidate called like a baseline, or envelopes for other tasks.
    """
    if not candidates and not config.baselines:
        raise ConfigError("Nothing to compare: no optimizer was given.")
    if twice := [name for name in config.baselines if name in candidates]:
        raise ConfigError(f"{twice[0]!r} is a baseline and a candidate at once.")
    started = time.monotonic()
    layout = layout or Layout(min(len(jax.devices()), config.tasks * config.seeds))
    eval_steps = evaluation_steps(config.steps, config.points)
    grid = run_grid(family, config, key, layout)
    curves: dict[str, TrainingCurves] = {}
    for group in _groups(candidates):
        thetas = jax.tree.map(lambda *x: jnp.stack(x), *(c.theta for c in group.values()))
        optimizer = next(iter(group.values())).optimizer
        program = training_program(
            family, optimizer, len(group), eval_steps, config.tasks, config.seeds, layout
        )
        made = program(key, thetas)
        curves |= {name: _member(made, i, eval_steps.size) for i, name in enumerate(group)}
    curves = {name: curves[name] for name in candidates}
    best = {name: grid.best(name, eval_steps.size) for name in grid.curves}
    curves |= {name: _member(grid.curves[name], i, eval_steps.size) for name, i in best.items()}
    if envelopes is None and any(name in CONSTANT for name in config.baselines):
        envelopes = grid.envelopes()
    settings = {"rates": {name: config.rates[i] for name, i in best.items()}}
    return _result(family, config, curves, envelopes, settings, held_out, started)


def _result(
    family: TaskFamily,
    config: TrialConfig,
    curves: Mapping[str, TrainingCurves],
    envelopes: Sequence[Envelope] | None,
    settings: dict[str, Any],
    held_out: bool,
    started: float,
) -> EnvironmentResult:
    """Averages over the seeds of a task; a task of which one diverged has no score."""
    steps = next(iter(curves.values())).steps
    training = {name: x.training_scaled[0].mean(axis=1) for name, x in curves.items()}
    further = {HELD_OUT_LOSS: {n: x.held_out_scaled[0].mean(axis=1) for n, x in curves.items()}}
    saturated = {}
    if envelopes is not None:
        further[SPEEDUP] = {}
        for name, x in curves.items():
            found = task_speedups(envelopes, list(x.training[0, ..., 1:]), steps[1:])
            start = np.full((*found.values.shape[:-1], 1), np.nan)  # no update, no speed
            both = np.concatenate([start, found.values], axis=-1)
            further[SPEEDUP][name] = both.mean(axis=1)
            saturated[name] = int(np.sum((found.below | found.above)[..., -1]))
    floor = np.nanmean([x[:, 0].mean() for x in training.values()])
    return EnvironmentResult(
        env=family.name,
        steps=steps,
        curves=training,
        scores={name: x[:, -1] for name, x in training.items()},
        random_score=float(floor),
        held_out=held_out,
        settings={
            "updates": config.steps,
            "tasks": config.tasks,
            "seeds": config.seeds,
            **settings,
            "speedups_at_an_end_of_the_envelope": saturated,
        },
        seconds=time.monotonic() - started,
        diverged={n: int(np.sum(~np.isfinite(x[:, -1]))) for n, x in training.items()},
        measure=TRAINING_LOSS,
        further=further,
    )


def _member(curves: TrainingCurves, number: int, evaluations: int) -> TrainingCurves:
    """One member's curves `[1, N, S, K]`, up to the first so many evaluations."""
    chosen = (x[number : number + 1, ..., :evaluations] for x in curves[1:])
    return TrainingCurves(curves.steps[:evaluations], *chosen)


def _groups(
    candidates: Mapping[str, OptimizerCandidate],
) -> list[dict[str, OptimizerCandidate]]:
    """Splits candidates into those that share an optimizer, the same object."""
    found: dict[int, dict[str, OptimizerCandidate]] = {}
    for name, candidate in candidates.items():
        found.setdefault(id(candidate.optimizer), {})[name] = candidate
    return list(found.values())
