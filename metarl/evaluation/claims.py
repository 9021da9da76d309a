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
BEGIN, END = "<!-- claims:begin -->", "<!-- claims:end -->"
_HEADER = ("Claim", "Measured [95%]", "Threshold", "Published", "Status",
           "Seeds", "Time", "Hardware", "Date")  # fmt: skip


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
      statement: the claim in one sentence.
      paper: where it was made.
      system: row of the list of systems it belongs to.
      config: `{"command": [...]}`, the arguments of `metarl` that measure it again.
      metric: which number; see `metarl.evaluation.metric`.
      threshold: what the number is held against.
      direction: `>=` or `<=`: on which side of the threshold it has to lie.
      criterion: what has to lie there: the `value`, or the whole 95% `interval`.
      published: what the original reports, if anything.
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


def table(claims: Sequence[Claim]) -> str:
    """The claims and their newest measurement as a Markdown table, failed ones included."""
    rows = [_HEADER, ("---",) * len(_HEADER), *(_row(claim) for claim in claims)]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def update_readme(readme_text: str, table: str) -> str:
    """Replaces what stands between the two claim markers of a README.

    Raises:
      ConfigError: the markers are not there exactly once each, in their order.
    """
    before, begin, rest = readme_text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end or BEGIN in rest or END in after:
        raise ConfigError(f"The README must hold {BEGIN} and, after it, {END}, once each.")
    return f"{before}{BEGIN}\n{table}\n{END}{after}"


def _row(claim: Claim) -> tuple[str, ...]:
    whole = " (whole interval)" if claim.criterion == "interval" else ""
    sign = {">=": "≥", "<=": "≤"}[claim.direction]
    published = "" if claim.published is None else str(claim.published)
    head = (claim.statement, f"{sign} {claim.threshold:g}{whole}", published)
    statement, threshold, published = map(_cell, head)
    if not claim.measured:
        return statement, "not measured", threshold, published, "not measured", "", "", "", ""
    last = claim.measured[-1]
    numbers = f"{_number(last.value)} [{_number(last.low)}, {_number(last.high)}]"
    tail = (f"{last.seeds}", f"{last.wall_seconds:.0f} s", last.hardware, last.date)
    return (statement, numbers, threshold, published, f"**{last.status}**", *map(_cell, tail))


def _number(x: float | None) -> str:
    return "never" if x is None else f"{x:,.0f}" if abs(x) >= 1e4 else f"{x:.4g}"


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())


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
