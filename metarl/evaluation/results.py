"""What an evaluation measured: one record an environment or family of tasks, and its file."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from metarl.core.errors import ArtifactError, ConfigError, check_choice, nearest
from metarl.evaluation.measures import MEASURES, RETURN, Measure
from metarl.io.atomic import atomic_write_text

FORMAT = "metarl-results/1"


@dataclass(frozen=True, eq=False)
class EnvironmentResult:
    """Several rules or optimizers trained in one place, the same number of seeds.

    Of agents, the place is an environment and a score a return; of optimizers, a family of tasks
    and a loss. `measure` says which; what is said of returns here holds of losses alike.

    Attributes:
      env: registered name, such as `gymnax/CartPole-v1` or `mlp/digits`.
      steps: environment steps (or updates) at each point of the curves, `[K]`, increasing.
      curves: rule name -> mean return of the episodes that ended in each interval, `[S, K]`; NaN
        where none ended. Of a loss: the loss at that point.
      scores: rule name -> mean return of the episodes that ended in the last tenth of training,
        `[S]`; NaN for a seed that diverged or finished no episode. Of a loss: the last one.
      random_score: mean return of a uniformly random agent, or loss of untrained networks; None
        where it is unknown.
      held_out: whether the learned rule never saw this environment.
      settings: the learner's configuration, the same for every rule.
      seconds: wall time of the whole evaluation on this environment.
      diverged: rule name -> number of seeds that diverged.
      measure: what curves and scores are, a name of `MEASURES`.
      further: other measures of the same training runs, name -> rule name -> `[S, K]`; see `of`.

    Raises:
      ConfigError: shapes that do not fit together, curves and scores of different rules, or an
        unknown measure.
    """

    env: str
    steps: np.ndarray
    curves: dict[str, np.ndarray]
    scores: dict[str, np.ndarray]
    random_score: float | None = None
    held_out: bool = False
    settings: dict[str, Any] = field(default_factory=dict)
    seconds: float = 0.0
    diverged: dict[str, int] = field(default_factory=dict)
    measure: str = RETURN
    further: dict[str, dict[str, np.ndarray]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in (self.measure, *self.further):
            check_choice(f"measure of {self.env}", name, MEASURES)
        steps = np.asarray(self.steps, np.float64)
        curves = {rule: np.asarray(x, np.float64) for rule, x in self.curves.items()}
        scores = {rule: np.asarray(x, np.float64) for rule, x in self.scores.items()}
        if steps.ndim != 1 or np.any(np.diff(steps) <= 0):
            raise ConfigError(f"{self.env}: steps must be one increasing axis, got {self.steps}.")
        if set(curves) != set(scores):
            raise ConfigError(
                f"{self.env}: curves of {sorted(curves)} but scores of {sorted(scores)}."
            )
        for rule, score in scores.items():
            if score.ndim != 1 or score.size == 0:
                raise ConfigError(f"{self.env}: scores of {rule!r} must be [S], got {score.shape}.")
            if curves[rule].shape != (score.size, steps.size):
                raise ConfigError(
                    f"{self.env}: curves of {rule!r} must be [S, K] = "
                    f"{(score.size, steps.size)}, got {curves[rule].shape}."
                )
        further = {
            name: {rule: np.asarray(x, np.float64) for rule, x in table.items()}
            for name, table in self.further.items()
        }
        for name, table in further.items():
            if {r: x.shape for r, x in table.items()} != {r: x.shape for r, x in curves.items()}:
                raise ConfigError(f"{self.env}: {name} must have the rules and shapes of curves.")
        if self.random_score is not None and not math.isfinite(self.random_score):
            object.__setattr__(self, "random_score", None)
        object.__setattr__(self, "steps", steps)
        object.__setattr__(self, "curves", curves)
        object.__setattr__(self, "scores", scores)
        object.__setattr__(self, "further", further)

    @property
    def kind(self) -> Measure:
        """What scores are, in words."""
        return MEASURES[self.measure]

    def of(self, measure: str | None) -> "EnvironmentResult":
        """The same training runs by another measure; None = by the main one.

        Scores are the last points of the curves.

        Raises:
          ConfigError: it was not measured.
        """
        if measure is None or measure == self.measure:
            return self
        check_choice(f"measure of {self.env}", measure, (self.measure, *self.further))
        curves = self.further[measure]
        start = [float(x[:, 0].mean()) for x in curves.values()] if self.steps[0] == 0 else []
        return replace(
            self,
            measure=measure,
            curves=curves,
            scores={rule: x[:, -1] for rule, x in curves.items()},
            random_score=min(start, default=None),
            further={},
        )

    @property
    def rules(self) -> tuple[str, ...]:
        """Names of the rules, in the order they were evaluated."""
        return tuple(self.scores)

    def worst_score(self) -> float | None:
        """The worst finite score here, the random agent's included; None without any."""
        finite = [x[np.isfinite(x)] for x in self.scores.values()]
        pooled = np.concatenate([*finite, [] if self.random_score is None else [self.random_score]])
        pooled = pooled[np.isfinite(pooled)]
        if not pooled.size:
            return None
        return float(pooled.max() if self.kind.lower_is_better else pooled.min())

    def unscored(self, rule: str) -> int:
        """Number of seeds of a rule without a finite score."""
        return int(np.sum(~np.isfinite(self._of(self.scores, rule))))

    def finite_scores(self, rule: str) -> np.ndarray:
        """Scores `[S]` of a rule, where a seed without a finite score has the environment's worst.

        A diverged seed is thus neither dropped, which would flatter the rule, nor poisonous.

        Raises:
          ConfigError: unknown rule, or nothing finite on the whole environment.
        """
        scores, worst = self._of(self.scores, rule), self.worst_score()
        if worst is None:
            raise ConfigError(f"{self.env}: no rule has a finite score.")
        return np.where(np.isfinite(scores), scores, worst)

    def filled_curves(self, rule: str) -> np.ndarray:
        """Curves `[S, K]` without inner gaps: the last return is held where no episode ended.

        Before a seed's first episode it stays NaN. A seed without a finite score falls to the
        environment's worst score after its last episode.
        """
        curves = self._of(self.curves, rule)
        last = np.maximum.accumulate(
            np.where(np.isfinite(curves), np.arange(self.steps.size), -1), axis=1
        )
        held = np.take_along_axis(curves, np.maximum(last, 0), axis=1)
        held = np.where(last < 0, np.nan, held)
        lost = ~np.isfinite(self.scores[rule])
        worst = self.worst_score()
        if worst is None or not lost.any():
            return held
        after = np.arange(self.steps.size) > last[:, -1:]
        return np.where(lost[:, None] & after, worst, held)

    def to_json(self) -> dict[str, Any]:
        """Returns a JSON-ready dict; NaN and infinities become `None`."""
        return {entry.name: _plain(getattr(self, entry.name)) for entry in fields(self)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "EnvironmentResult":
        """Reads what `to_json` made.

        Raises:
          ArtifactError: a missing or unknown field, or content that does not fit.
        """
        names = [entry.name for entry in fields(cls)]
        optional = ("measure", "further")  # which older files do not have
        for name in data:
            if name not in names:
                raise ArtifactError(f"Unknown field {name!r} in a result.{nearest(name, names)}")
        if missing := [name for name in names if name not in data and name not in optional]:
            raise ArtifactError(f"A result lacks {', '.join(missing)}.")
        try:
            arrays = {
                name: {rule: _array(x) for rule, x in data[name].items()}
                for name in ("curves", "scores")
            }
            further = {
                name: {rule: _array(x) for rule, x in table.items()}
                for name, table in data.get("further", {}).items()
            }
            return cls(**{**data, **arrays, "steps": _array(data["steps"]), "further": further})
        except (TypeError, ValueError, AttributeError) as error:
            raise ArtifactError(f"A result cannot be read: {error}") from error

    def _of(self, table: dict[str, np.ndarray], rule: str) -> np.ndarray:
        if rule not in table:
            raise ConfigError(
                f"{self.env} has no rule {rule!r}.{nearest(rule, table)} "
                f"Measured: {', '.join(table)}."
            )
        return table[rule]


def save_results(path: str | Path, results: Sequence[EnvironmentResult]) -> None:
    """Writes results to one JSON file, atomically."""
    content = {"format": FORMAT, "results": [result.to_json() for result in results]}
    atomic_write_text(Path(path), json.dumps(content, allow_nan=False, indent=1) + "\n")


def load_results(path: str | Path) -> list[EnvironmentResult]:
    """Reads a results file.

    Raises:
      ArtifactError: the file is missing, is not JSON, or is not a results file.
    """
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ArtifactError(f"Cannot read results from {path}: {error}") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise ArtifactError(f"{path} is not a results file (format {FORMAT!r}).")
    return [EnvironmentResult.from_json(entry) for entry in content["results"]]


def find_result(results: Sequence[EnvironmentResult], env: str) -> EnvironmentResult:
    """Returns the result on an environment.

    Raises:
      ConfigError: it was not measured; names the nearest one that was.
    """
    for result in results:
        if result.env == env:
            return result
    measured = [result.env for result in results]
    raise ConfigError(
        f"No result on {env!r}.{nearest(env, measured)} Measured: {', '.join(measured) or 'none'}."
    )


def _plain(value: Any) -> Any:
    """Turns arrays, tuples and numpy scalars into JSON values, non-finite numbers into None."""
    if isinstance(value, Mapping):
        return {str(key): _plain(x) for key, x in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        return _plain(value.tolist())
    if isinstance(value, list | tuple):
        return [_plain(x) for x in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _array(values: Any) -> np.ndarray:
    """Reads nested lists; `None` becomes NaN."""
    return np.asarray(values, dtype=np.float64)
