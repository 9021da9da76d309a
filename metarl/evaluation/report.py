"""The report of a run: one HTML file that stands alone and begins with the verdict."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from matplotlib.figure import Figure

from metarl.evaluation import report_page as html
from metarl.evaluation.figures import (
    learning_curves_figure,
    scores_figure,
    split_label,
    tasks_figure,
    training_figure,
)
from metarl.evaluation.measures import MEASURES, RETURN, Measure
from metarl.evaluation.results import EnvironmentResult
from metarl.evaluation.statistics import SummaryRow, summary
from metarl.evaluation.style import label, save, svg_or_png
from metarl.evaluation.verdict import (
    number,
    reference_of,
    verdict,
    with_bounds,
)
from metarl.io.atomic import atomic_write_text

PART = "of which "
"""Begins the name of a phase whose seconds are contained in another's."""
_SYMBOLS = {"better": "▲ better", "worse": "▼ worse", "undecided": "● no clear difference"}


class Picture(NamedTuple):
    """A figure of a report that belongs to the problem.

    Attributes:
      figure: the figure.
      title: heading above it.
      caption: text below it.
      text: paragraphs before it.
    """

    figure: Figure
    title: str
    caption: str
    text: tuple[str, ...] = ()


@dataclass(frozen=True)
class ReportInputs:
    """Everything a report is made of. Any part may be empty: the report then says so.

    Attributes:
      title: heading of the page.
      experiment: name of the experiment, as the command line spells it.
      config: the run's configuration, nested.
      versions: name -> version or description of software and hardware.
      rows: training metrics, one dict a generation; see `training_figure`.
      results: evaluations, at best one on the training environment and some held out.
      cost: `seconds` by phase (a dict; names that begin with `PART` are not summed),
        `env_steps` (or another `Measure.counter`), `devices`, `peak_memory_mb`, and whatever else;
        any may lack.
      artifact_path: where the learned rule lies.
      card: the artifact's card.
      notes: further remarks, such as that the run was stopped early.
      command: how the run was started; default `metarl run <experiment>`.
      learned: name of the learned rule in the results.
      measure: what the fitness in `rows` is of, a name of `metarl.evaluation.measures.MEASURES`.
      example_command: command that uses the artifact; `{path}` stands for its path.
      description: sentence on what was learned.
      example_code: Python that uses the artifact.
      pictures: further figures by file stem, shown beside what was learned.
    """

    title: str
    experiment: str
    config: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, Any] = field(default_factory=dict)
    rows: Sequence[Mapping[str, Any]] = ()
    results: Sequence[EnvironmentResult] = ()
    cost: Mapping[str, Any] = field(default_factory=dict)
    artifact_path: str = ""
    card: Mapping[str, Any] = field(default_factory=dict)
    notes: Sequence[str] = ()
    command: str = ""
    learned: str = "learned"
    measure: str = RETURN
    example_command: str = ""
    description: str = ""
    example_code: str = ""
    pictures: Mapping[str, Picture] = field(default_factory=dict)


def report_figures(inputs: ReportInputs) -> dict[str, Figure]:
    """Draws the figures for which there is data: file stem -> figure."""
    figures = {}
    if inputs.rows:
        figures["training"] = training_figure(inputs.rows, inputs.measure)
    figures |= {name: picture.figure for name, picture in inputs.pictures.items()}
    if inputs.results:
        figures["learning_curves"] = learning_curves_figure(inputs.results)
        figures["scores"] = scores_figure(inputs.results, reference_of(inputs.results))
        if any(result.kind.paired for result in inputs.results):
            figures["tasks"] = tasks_figure(inputs.results)
    return figures


def render_report(inputs: ReportInputs, figures: Mapping[str, Figure] | None = None) -> str:
    """Renders the report as one HTML document without scripts or links to other files.

    Args:
      inputs: what to report.
      figures: those of `report_figures`, if they were drawn already.
    """
    figures = report_figures(inputs) if figures is None else figures
    pictures = {name: svg_or_png(figure) for name, figure in figures.items()}
    body = [
        f"<h1>{html.escape(inputs.title)}</h1>",
        html.paragraph(f"Experiment {inputs.experiment}", "sub"),
        *_verdict(inputs),
        "<h2>What was learned</h2>",
        *_learned(inputs, pictures),
        "<h2>How training went</h2>",
        *_training(inputs, pictures),
        "<h2>How it compares</h2>",
        *_comparison(inputs, pictures),
        "<h2>What it cost</h2>",
        *_cost(inputs.cost, MEASURES[inputs.measure]),
        "<h2>How to reproduce it</h2>",
        *_reproduction(inputs),
    ]
    return html.page(inputs.title, body)


def save_report(
    path: str | Path, inputs: ReportInputs, figures_folder: str | Path | None = None
) -> None:
    """Writes the report atomically and, if a folder is given, its figures as PNG files."""
    figures = report_figures(inputs)
    if figures_folder is not None:
        for name, figure in figures.items():
            save(figure, Path(figures_folder) / f"{name}.png")
    atomic_write_text(Path(path), render_report(inputs, figures))


def _verdict(inputs: ReportInputs) -> list[str]:
    words = verdict(inputs.results, inputs.learned)
    return [
        '<div class="verdict">',
        html.paragraph(words.headline, "headline"),
        html.paragraph(words.paragraph),
        *(html.paragraph(note) for note in inputs.notes),
        "</div>",
    ]


def _learned(inputs: ReportInputs, pictures: Mapping[str, str]) -> list[str]:
    parts = [html.paragraph(inputs.description)] if inputs.description else []
    for name, picture in inputs.pictures.items():
        parts += [html.paragraph(text) for text in picture.text]
        parts.append(html.figure(pictures[name], picture.title, picture.caption))
    return parts or [html.paragraph("Nothing was drawn: the run may have ended early.")]


def _training(inputs: ReportInputs, pictures: Mapping[str, str]) -> list[str]:
    rows = [row for row in inputs.rows if row.get("fitness_mean") is not None]
    if not rows:
        return [html.paragraph("No generation was recorded: the run ended before its first.")]
    kind = MEASURES[inputs.measure]
    sign, what = (-1, "meta-loss") if kind.lower_is_better else (1, "fitness")
    first, last = (sign * float(rows[i]["fitness_mean"]) for i in (0, -1))
    diverged = sum(int(row.get("diverged") or 0) for row in rows)
    text = (
        f"In {len(rows)} recorded generations the population's mean {what} went from "
        f"{number(first)} to {number(last)}. "
    )
    text += f"{diverged} members diverged and counted as the worst of their generation." * bool(
        diverged
    )
    return [
        html.paragraph(text),
        html.figure(pictures["training"], f"{what.capitalize()} over generations"),
    ]


def _comparison(inputs: ReportInputs, pictures: Mapping[str, str]) -> list[str]:
    if not inputs.results:
        return [html.paragraph("Nothing was evaluated: the run ended before its evaluation.")]
    kind = inputs.results[0].kind
    caption = (
        f"Interquartile mean over {kind.unit}s; bands and whiskers are 95% stratified bootstrap "
        "intervals. "
        "All share their random numbers; the settings are in the configuration below."
    )
    reference = reference_of(inputs.results)
    name = label(reference)
    better = (
        f"Better than {name} by [95%]" if kind.lower_is_better else (f"Difference to {name} [95%]")
    )
    header = ("Rule", "Score [95%]", better, "Verdict", f"{kind.unit.capitalize()}s")
    note = (
        f"The score is the interquartile mean over {kind.unit}s of {kind.score}. A difference "
        "counts only where its whole interval lies on one side of zero."
    )
    return [
        html.figure(pictures["learning_curves"], "Learning curves", caption),
        *(
            [html.figure(pictures["tasks"], "Single tasks", "The first tasks of the first family.")]
            if "tasks" in pictures
            else []
        ),
        html.figure(pictures["scores"], "Normalised final scores"),
        html.table(header, _score_rows(inputs.results, reference)),
        html.paragraph(note, "note"),
        *_further(inputs.results),
    ]


def _further(results: Sequence[EnvironmentResult]) -> list[str]:
    """A table of every further measure of the same training runs, one column each."""
    names = list(dict.fromkeys(name for result in results for name in result.further))
    if not names:
        return []
    header = (results[0].kind.learned.capitalize(), *(MEASURES[n].label for n in names))
    rows = []
    for result in sorted(results, key=lambda result: result.held_out):
        rows.append(html.group(result.env, split_label(result), len(header)))
        measured = [summary(result.of(name)) if name in result.further else () for name in names]
        for i, rule in enumerate(result.rules):
            scores = [column[i].score if column else None for column in measured]
            shown = ("" if score is None else with_bounds(score) for score in scores)
            rows.append(html.cells((label(rule), *shown)))
    notes = "; ".join(f"{MEASURES[name].label}: {MEASURES[name].score}" for name in names)
    return [html.table(header, rows), html.paragraph(f"{notes}.", "note")]


def _score_rows(results: Sequence[EnvironmentResult], reference: str) -> list[str]:
    rows = []
    for result in sorted(results, key=lambda result: result.held_out):
        random = "unknown" if result.random_score is None else number(result.random_score)
        notes = [split_label(result), f"{result.kind.floor} {random}"]
        rows.append(html.group(result.env, ", ".join(filter(None, notes)), 5))
        rows += [_score_row(row) for row in summary(result, reference)]
    return rows


def _score_row(row: SummaryRow) -> str:
    score = "no finite score" if row.score is None else with_bounds(row.score)
    seeds = f"{row.seeds}" + (f" ({row.unscored} without a score)" if row.unscored else "")
    if row.difference is None:
        return html.cells((label(row.rule), score, "", "", seeds))
    kind = row.difference.verdict
    difference = with_bounds(row.difference, signed=True)
    return html.cells(
        (label(row.rule), score, difference, _SYMBOLS[kind], seeds), ("", "", "", kind)
    )


def _cost(cost: Mapping[str, Any], kind: Measure) -> list[str]:
    if not cost:
        return [html.paragraph("No cost was recorded.")]
    entries: dict[str, str] = {}
    seconds = cost.get("seconds")
    phases = seconds if isinstance(seconds, Mapping) else {}
    for phase, value in phases.items():
        entries[f"{phase}, time"] = duration(value)
    whole = [value for phase, value in phases.items() if not phase.startswith(PART)]
    if len(whole) > 1:
        entries["all phases, time"] = duration(sum(whole))
    elif seconds is not None and not phases:
        entries["time"] = duration(seconds)
    if kind.counter in cost:
        entries[kind.steps] = f"{int(cost[kind.counter]):,}"
    if "peak_memory_mb" in cost:
        entries["peak memory"] = f"{cost['peak_memory_mb']:,.0f} MB"
    known = ("seconds", kind.counter, "peak_memory_mb")
    rest = {name.replace("_", " "): str(x) for name, x in cost.items() if name not in known}
    return [html.facts(entries | rest)]


def _reproduction(inputs: ReportInputs) -> list[str]:
    parts = [html.code(inputs.command or f"metarl run {inputs.experiment}")]
    if inputs.artifact_path:
        parts += [
            html.paragraph("Train with what was learned, beside others:"),
            html.code(inputs.example_command.format(path=inputs.artifact_path)),
        ]
        if inputs.example_code:
            parts += [html.paragraph("Use it in your own code:"), html.code(inputs.example_code)]
    # What the page shows elsewhere is not shown again.
    card = {k: v for k, v in inputs.card.items() if k not in ("config", "versions", "scores")}
    for heading, entries in (
        ("Configuration", inputs.config),
        ("Versions and hardware", inputs.versions),
        ("Card of the artifact", card),
    ):
        if entries:
            parts += [f"<h3>{heading}</h3>", html.facts(html.flatten(entries))]
    return parts


def duration(seconds: float) -> str:
    """Formats a duration: `8.4 s`, `3 min 20 s`, `2 h 05 min`."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"
