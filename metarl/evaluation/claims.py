"""Claims: what this library says that it reproduces, with how to measure it and what came out.

One JSON file a claim. Its metric is data (`{"kind": "iqm", "rule": "ppo", "env": ...}`), read by
`metarl.evaluation.metric`; a claim that failed stays, as failed.
"""

import datetime
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal

from metarl.core.errors import ConfigError, check_choice, nearest
from metarl.evaluation.metric import check_metric, measure_metric, measured_seeds
from metarl.evaluation.results import EnvironmentResult
from metarl.evaluation.statistics import Interval
from metarl.io.atomic import atomic_write_text

Status = Literal["passed", "failed"]


@dataclass(frozen=True)
class Measured:
    """One measurement of a claim.

    Attributes:
      value: the metric; None if it is infinite, such as the steps to a return never reached.
      low: lower bound of its 95% interval; None if infinite.
      high: upper bound; None if infinite.
      status: `passed` or `failed`.
      seeds: smallest number of seeds behind any of its scores.
      wall_seconds: time of the evaluations it rests on.
      hardware: where it was measured.
      date: ISO date.
      versions: name -> version of the software.
      note: remarks.
    """

    value: float | None
    low: float | None
    high: float | None
    status: Status
    seeds: int
    wall_seconds: float
    hardware: str
    date: str
    versions: dict[str, str] = field(default_factory=dict)
    note: str = ""


@dataclass(frozen=True)
class Claim:
    """A claim of a paper, or of this library, that a number decides.

    Attributes:
      name: its file's stem.
      statement: name of the measured number, short enough for a row of a table.
      paper: where it was made.
      system: row of the list of systems it belongs to.
      config: `{"command": [...]}`, the arguments of `metarl` that measure it again.
      metric: which number; see `metarl.evaluation.metric`.
      threshold: what the number is held against.
      direction: `>=` or `<=`: on which side of the threshold it has to lie.
      criterion: what has to lie there: the `value`, or the whole 95% `interval`.
      published: what the original reports, if anything.
      details: what the number is, exactly: quantity, unit, budget, what it is compared with.
      headline: whether the README shows it, in at most ten rows.
      measured: every measurement, the newest last.
      notes: how to read it.

    Raises:
      ConfigError: a field is out of its permitted values.
    """

    name: str
    statement: str
    paper: str
    system: str
    config: dict[str, Any]
    metric: dict[str, Any]
    threshold: float
    direction: str = ">="
    criterion: str = "value"
    published: str | float | None = None
    details: str = ""
    headline: bool = False
    measured: tuple[Measured, ...] = ()
    notes: str = ""

    def __post_init__(self) -> None:
        command = self.config.get("command")
        if not (isinstance(command, list) and command and all(type(x) is str for x in command)):
            raise ConfigError(
                f"Claim {self.name!r}: config.command must be a list of arguments, got {command!r}."
            )
        check_choice("direction", self.direction, (">=", "<="))
        check_choice("criterion", self.criterion, ("value", "interval"))
        if isinstance(self.threshold, bool) or not isinstance(self.threshold, int | float):
            raise ConfigError(f"Claim {self.name!r}: threshold is no number: {self.threshold!r}.")
        if not isinstance(self.headline, bool):
            raise ConfigError(
                f"Claim {self.name!r}: headline must be true or false, got {self.headline!r}."
            )
        check_metric(self.metric)

    def holds(self, interval: Interval) -> bool:
        """Whether a measured interval fulfils the claim."""
        if self.direction == ">=":
            return (interval.low if self.criterion == "interval" else interval.value) >= (
                self.threshold
            )
        return (interval.high if self.criterion == "interval" else interval.value) <= (
            self.threshold
        )

    def with_measurement(self, measured: Measured) -> "Claim":
        """Returns the claim with one more measurement."""
        return replace(self, measured=(*self.measured, measured))


def load_claim(path: str | Path) -> Claim:
    """Reads one claim.

    Raises:
      ConfigError: not JSON, an unknown or missing field, or a name that is not the file's.
    """
    path = Path(path)
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"Cannot read the claim {path}: {error}") from error
    if not isinstance(data, dict):
        raise ConfigError(f"{path} does not hold a claim.")
    measured = data.get("measured", [])
    data["measured"] = tuple(_build(Measured, entry, path) for entry in measured)
    claim = _build(Claim, data, path)
    if claim.name != path.stem:
        raise ConfigError(f"{path} holds a claim that calls itself {claim.name!r}.")
    return claim


def load_claims(folder: str | Path) -> list[Claim]:
    """Reads every `*.json` of a folder, in the order of names."""
    return [load_claim(path) for path in sorted(Path(folder).glob("*.json"))]


def find_claim(claims: Sequence[Claim], name: str) -> Claim:
    """Returns the claim of a name.

    Raises:
      ConfigError: there is none; names the nearest.
    """
    check_choice("claim", name, [claim.name for claim in claims])
    return next(claim for claim in claims if claim.name == name)


def save_claim(folder: str | Path, claim: Claim) -> Path:
    """Writes `<folder>/<name>.json` atomically; returns its path."""
    path = Path(folder) / f"{claim.name}.json"
    text = json.dumps(asdict(claim), indent=2, allow_nan=False, ensure_ascii=False)
    atomic_write_text(path, text + "\n")
    return path


def measure(
    claim: Claim,
    results: Sequence[EnvironmentResult],
    *,
    hardware: str = "",
    versions: Mapping[str, str] | None = None,
    date: str | None = None,
    note: str = "",
) -> Measured:
    """Evaluates a claim's metric on results and holds it against the threshold.

    Args:
      claim: the claim.
      results: evaluations that its command produced.
      hardware: description of the machine.
      versions: of the software.
      date: ISO date; default today (UTC).
      note: remarks.

    Raises:
      ConfigError: the results lack an environment or a rule of the metric.
    """
    found = measure_metric(claim.metric, results)
    value, low, high = (x if math.isfinite(x) else None for x in found)
    return Measured(
        value=value,
        low=low,
        high=high,
        status="passed" if claim.holds(found) else "failed",
        seeds=measured_seeds(claim.metric, results),
        wall_seconds=round(sum(result.seconds for result in results), 1),
        hardware=hardware,
        date=date or datetime.datetime.now(datetime.UTC).date().isoformat(),
        versions=dict(versions or {}),
        note=note,
    )


def _build(kind: type, data: Any, path: Path) -> Any:
    """Makes a dataclass of a JSON object, refusing unknown and missing fields by name."""
    if not isinstance(data, dict):
        raise ConfigError(f"{path}: expected an object for {kind.__name__}, got {data!r}.")
    names = [entry.name for entry in fields(kind)]
    for name in data:
        if name not in names:
            raise ConfigError(
                f"{path}: unknown field {name!r}.{nearest(name, names)} "
                f"Permitted: {', '.join(names)}."
            )
    try:
        return kind(**data)
    except TypeError as error:
        raise ConfigError(f"{path}: {error}.") from error
