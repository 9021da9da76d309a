"""Interquartile means with stratified bootstrap intervals (Agarwal et al. 2021, arXiv 2108.13264).

A score is one number a seed. Scores of several tasks are `{task: [S]}` or an
array `[N, S]`; seeds are resampled within their task, never across. Every function refuses scores
that are not finite: `EnvironmentResult.finite_scores` says what a diverged seed counts as. Which
direction is better, and whether two rules are compared task by task, the result's measure knows.

Percentile intervals are slightly too narrow for few seeds: the nominal 95% of an interquartile mean
covered 92% of 1000 simulated cases with 8 seeds, 93% with 16 and 95% with 64.
"""

from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from metarl.core.errors import ConfigError, check_positive
from metarl.evaluation.results import EnvironmentResult

Scores: TypeAlias = Mapping[str, ArrayLike] | ArrayLike
Statistic: TypeAlias = Callable[..., Any]
"""A reduction `(x, axis=...)`, such as `np.mean` or `interquartile_mean`."""
Verdict: TypeAlias = Literal["better", "worse", "undecided"]

REPETITIONS = 2000
CONFIDENCE = 0.95


class Interval(NamedTuple):
    """An estimate and the bounds of its confidence interval."""

    value: float
    low: float
    high: float

    @property
    def verdict(self) -> Verdict:
        """For a difference: whether the whole interval lies above zero, below it, or neither."""
        if self.low > 0:
            return "better"
        return "worse" if self.high < 0 else "undecided"


class SummaryRow(NamedTuple):
    """One rule on one environment.

    Attributes:
      env: environment name.
      rule: rule name.
      score: interquartile mean of the final scores and its interval; None without finite scores.
      difference: of the interquartile mean from the baseline's; None for the baseline itself.
      seeds: S.
      unscored: seeds without a finite score, counted as the environment's worst.
    """

    env: str
    rule: str
    score: Interval | None
    difference: Interval | None
    seeds: int
    unscored: int


def interquartile_mean(x: ArrayLike, *, axis: int | None = None) -> np.ndarray:
    """Mean of the middle half of the values, with fractional weights.

    Of n sorted values, the i-th (from 0) weighs as much as `[i, i+1]` overlaps `[n/4, 3n/4]`. So
    exactly half of the mass is kept for every n, and the result is continuous in the data;
    where 4 divides n it is the ordinary 25% trimmed mean.

    Args:
      x: any shape.
      axis: the axis to reduce; None flattens first.
    """
    values = np.asarray(x, np.float64)
    values = np.sort(values.ravel() if axis is None else np.moveaxis(values, axis, -1), axis=-1)
    n = values.shape[-1]
    edges = np.clip(np.arange(n + 1), n / 4, 3 * n / 4)
    return values @ (np.diff(edges) / (n / 2))


def stratified_bootstrap(
    scores: Scores,
    statistic: Statistic = interquartile_mean,
    *,
    repetitions: int = REPETITIONS,
    confidence: float = CONFIDENCE,
    seed: int = 0,
) -> Interval:
    """Percentile bootstrap interval of a statistic of the pooled scores.

    Args:
      scores: `{task: [S]}` or `[N, S]`; tasks may have different numbers of seeds.
      statistic: reduces the pooled scores of all the tasks.
      repetitions: number of bootstrap samples.
      confidence: nominal coverage, in (0, 1).
      seed: of the resampling.

    Raises:
      ConfigError: empty or non-finite scores, or a confidence out of (0, 1).
    """
    tasks = _tasks(scores)
    resampled = _resample(tasks, repetitions, np.random.default_rng(seed))
    value = statistic(np.concatenate(tasks), axis=-1)
    return _percentiles(value, statistic(np.concatenate(resampled, -1), axis=-1), confidence)


def interval(x: ArrayLike, **options: float) -> Interval:
    """Interquartile mean of the seeds of one task, `[S]`, with its bootstrap interval."""
    return stratified_bootstrap({"": np.ravel(x)}, **options)  # type: ignore[arg-type]


def difference_interval(
    a: Scores,
    b: Scores,
    statistic: Statistic = interquartile_mean,
    *,
    repetitions: int = REPETITIONS,
    confidence: float = CONFIDENCE,
    seed: int = 0,
    paired: bool = False,
) -> Interval:
    """Bootstrap interval of `statistic(a) - statistic(b)`.

    Args:
      a: scores of one rule.
      b: of the other.
      statistic: as for `stratified_bootstrap`.
      repetitions: number of bootstrap samples.
      confidence: nominal coverage, in (0, 1).
      seed: of the resampling.
      paired: whether the n-th scores of both belong together and are drawn together, instead of
        independently.

    Raises:
      ConfigError: as `stratified_bootstrap`, or different numbers of tasks, or of pairs.
    """
    tasks_a, tasks_b = _same_tasks(a, b)
    sizes = [[x.size for x in tasks] for tasks in (tasks_a, tasks_b)]
    if paired and sizes[0] != sizes[1]:
        raise ConfigError(f"Pairs of {sizes[0]} scores against {sizes[1]}.")
    rng = np.random.default_rng(seed)

    def pooled(tasks: list[np.ndarray]) -> np.ndarray:
        drawn = np.random.default_rng(seed) if paired else rng
        return statistic(np.concatenate(_resample(tasks, repetitions, drawn), -1), axis=-1)

    value = statistic(np.concatenate(tasks_a), axis=-1) - statistic(
        np.concatenate(tasks_b), axis=-1
    )
    return _percentiles(value, pooled(tasks_a) - pooled(tasks_b), confidence)


def curve_interval(
    curves: np.ndarray, *, repetitions: int = 500, confidence: float = CONFIDENCE, seed: int = 0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Interquartile mean over seeds and its interval at each point of `[S, K]`.

    A seed that is NaN at a point does not take part there.

    Returns:
      value, low, high: each `[K]`; NaN where no seed takes part.
    """
    out = np.full((3, curves.shape[1]), np.nan)
    for k, column in enumerate(curves.T):
        present = column[np.isfinite(column)]
        if present.size:
            out[:, k] = interval(present, repetitions=repetitions, confidence=confidence, seed=seed)
    return out[0], out[1], out[2]


def ratio_interval(
    a: Scores, b: Scores, statistic: Statistic = interquartile_mean, **options: Any
) -> Interval:
    """Bootstrap interval of the typical ratio of pairs, `exp(statistic(log(a / b)))`, pooled.

    Ratios compare losses of tasks whose scales differ; in the logarithm twice and half weigh alike.

    Args:
      a: positive scores of one rule, `{place: [S]}` or `[N, S]`.
      b: those of the other on the same tasks.
      statistic: of the logarithms.
      **options: of `stratified_bootstrap`.

    Raises:
      ConfigError: different numbers of places or of scores, or one that is not positive.
    """
    places = list(zip(*_same_tasks(a, b), strict=True))
    if any(x.shape != y.shape or np.any(x <= 0) or np.any(y <= 0) for x, y in places):
        raise ConfigError("Ratios need as many positive scores of one rule as of the other.")
    logs = {str(i): np.log(x / y) for i, (x, y) in enumerate(places)}
    found = stratified_bootstrap(logs, statistic, **options)
    return Interval(*(float(np.exp(bound)) for bound in found))


def normalise(score: ArrayLike, random: float, reference: float) -> np.ndarray:
    """Rescales scores so that the random agent has 0 and the reference 1.

    Raises:
      ConfigError: a reference that is not above the random agent, which would make it meaningless.
    """
    if not reference > random:
        raise ConfigError(f"The reference ({reference}) must score above random ({random}).")
    return (np.asarray(score, np.float64) - random) / (reference - random)


def normalised_scores(result: EnvironmentResult, rule: str, reference: str = "ppo") -> np.ndarray:
    """Scores `[S]` of a rule with random at 0 and the reference's interquartile mean at 1.

    The two constants are taken as known: they are not resampled.

    Raises:
      ConfigError: unknown rule, no random score, or a reference that is not above random.
    """
    if result.random_score is None:
        raise ConfigError(f"{result.env}: no random score, so nothing to normalise by.")
    sign = _direction(result)
    top = float(interquartile_mean(result.finite_scores(reference)))
    return normalise(sign * result.finite_scores(rule), sign * result.random_score, sign * top)


def summary(result: EnvironmentResult, baseline: str = "ppo") -> list[SummaryRow]:
    """One row a rule: its score, and its difference from the baseline where that was evaluated."""
    scorable = result.worst_score() is not None

    def row(rule: str) -> SummaryRow:
        compared = scorable and rule != baseline and baseline in result.rules
        return SummaryRow(
            env=result.env,
            rule=rule,
            score=interval(result.finite_scores(rule)) if scorable else None,
            difference=compare(result, rule, baseline) if compared else None,
            seeds=result.scores[rule].size,
            unscored=result.unscored(rule),
        )

    return [row(rule) for rule in result.rules]


def compare(result: EnvironmentResult, rule: str, baseline: str) -> Interval:
    """Interval of how much better a rule is than another: the difference of interquartile means.

    Above zero the rule is better, whatever the direction of the scores.
    """
    sign = _direction(result)
    return difference_interval(
        {result.env: sign * result.finite_scores(rule)},
        {result.env: sign * result.finite_scores(baseline)},
        paired=result.kind.paired,
    )


def _direction(result: EnvironmentResult) -> float:
    return -1.0 if result.kind.lower_is_better else 1.0


def _tasks(scores: Scores) -> list[np.ndarray]:
    """Splits scores into one float64 `[S]` a task."""
    names = list(scores) if isinstance(scores, Mapping) else None
    rows = list(scores.values()) if isinstance(scores, Mapping) else np.atleast_2d(scores)
    tasks = [np.asarray(row, np.float64) for row in rows]
    if not tasks or any(task.ndim != 1 or task.size == 0 for task in tasks):
        raise ConfigError("Scores must be {task: [S]} or [N, S] with at least one seed.")
    for i, task in enumerate(tasks):
        if not np.isfinite(task).all():
            where = repr(names[i]) if names else str(i)
            raise ConfigError(
                f"Task {where}: {int(np.sum(~np.isfinite(task)))} of {task.size} scores are not "
                "finite; decide first what they count as (EnvironmentResult.finite_scores)."
            )
    return tasks


def _same_tasks(a: Scores, b: Scores) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Splits two sets of scores, the second in the task order of the first."""
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        if set(a) != set(b):
            raise ConfigError(f"Different tasks: {sorted(a)} and {sorted(b)}.")
        b = {task: b[task] for task in a}
    tasks_a, tasks_b = _tasks(a), _tasks(b)
    if len(tasks_a) != len(tasks_b):
        raise ConfigError(f"{len(tasks_a)} tasks against {len(tasks_b)}.")
    return tasks_a, tasks_b


def _resample(
    tasks: list[np.ndarray], repetitions: int, rng: np.random.Generator
) -> list[np.ndarray]:
    """Draws seeds with replacement within each task; `[repetitions, S]` each."""
    check_positive(repetitions=repetitions)
    return [task[rng.integers(task.size, size=(repetitions, task.size))] for task in tasks]


def _percentiles(value: np.ndarray, samples: np.ndarray, confidence: float) -> Interval:
    if not 0 < confidence < 1:
        raise ConfigError(f"confidence must lie in (0, 1), got {confidence}.")
    tail = (1 - confidence) / 2
    low, high = np.quantile(samples, [tail, 1 - tail])
    return Interval(float(value), float(low), float(high))
