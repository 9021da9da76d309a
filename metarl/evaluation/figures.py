"""The figures of a report. Each function takes data and returns a matplotlib `Figure`."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from metarl.core.errors import ConfigError
from metarl.evaluation.measures import MEASURES, RETURN
from metarl.evaluation.results import EnvironmentResult
from metarl.evaluation.statistics import curve_interval, interval, normalised_scores
from metarl.evaluation.style import (
    FAINT,
    INK,
    MUTED,
    RANDOM,
    START,
    is_learned,
    look,
    message_figure,
    new_figure,
    styled,
)

_TASKS = 6


@styled
def training_figure(rows: Sequence[Mapping[str, Any]], measure: str = RETURN) -> Figure:
    """Draws the fitness, or the meta-loss, over the generations of meta-training.

    Args:
      rows: metrics with `generation`, `fitness_mean` and, where known, `fitness_best`,
        `fitness_worst`, `env_steps` (cumulative; or another `Measure.counter`), `gradient_norm` and
        `diverged`.
      measure: what fitness is of; of a loss the meta-loss is drawn, minus the fitness.
    """
    kind = MEASURES[measure]
    sign = -1.0 if kind.lower_is_better else 1.0
    rows = [row for row in rows if "generation" in row and "fitness_mean" in row]
    if not rows:
        return message_figure("Meta-training", "No generation was recorded.")
    figure = new_figure(9, 5.2, f"{kind.progress.partition(' (')[0]} during meta-training")
    ax, lower = figure.subplots(2, 1, sharex=True, height_ratios=(2.6, 1))
    generation = _column(rows, "generation")
    mean, best, worst = (sign * _column(rows, f"fitness_{x}") for x in ("mean", "best", "worst"))
    color = look("learned").color
    marker = "o" if len(rows) == 1 else None
    floor = np.where(np.isfinite(worst), worst, mean)
    ax.fill_between(generation, floor, best, color=color, alpha=0.16, lw=0, label="population")
    ax.plot(generation, best, color=INK, lw=1.1, marker=marker, label="best member")
    ax.plot(generation, mean, color=color, marker=marker, label="mean")
    ax.set_ylabel(kind.progress)
    _steps_axis(ax, generation, _column(rows, kind.counter), kind.steps)
    lower.plot(generation, _column(rows, "gradient_norm"), color=MUTED, lw=1.3, marker=marker)
    lower.set(ylabel="Gradient norm", xlabel="Generation", ylim=(0, None))
    lower.yaxis.set_major_locator(MaxNLocator(3, steps=[1, 2, 5, 10]))
    lower.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
    lower.margins(x=0.02)
    diverged = generation[np.nan_to_num(_column(rows, "diverged")) > 0]
    if diverged.size:
        on_axis = ax.get_xaxis_transform()
        ax.plot(diverged, 0 * diverged, "x", color=INK, ms=5.5, transform=on_axis, clip_on=False,
                label="a member diverged")  # fmt: skip
    figure.legend(*ax.get_legend_handles_labels(), loc="outside lower left", ncols=4)
    return figure


def _steps_axis(ax: Axes, generation: np.ndarray, steps: np.ndarray, counted: str) -> None:
    """Adds inner steps on top; every generation costs the same, so the map is linear."""
    rises = generation[-1] > generation[0] and steps[-1] > steps[0]
    if not rises or not np.isfinite(steps[[0, -1]]).all():
        return
    slope = (steps[-1] - steps[0]) / (generation[-1] - generation[0])
    offset = steps[0] - slope * generation[0]
    unit, name = _unit(steps[-1])
    top = ax.secondary_xaxis(
        "top",
        functions=(
            lambda g: (offset + slope * np.asarray(g)) / unit,
            lambda s: (np.asarray(s) * unit - offset) / slope,
        ),
    )
    top.set_xlabel(f"{counted.capitalize()}{name}")


def _unit(most: float) -> tuple[float, str]:
    """What an axis of steps is divided by, and how that is said."""
    if most >= 2e6:
        return 1e6, " (millions)"
    return (1e3, " (thousands)") if most >= 2e3 else (1.0, "")


def _column(rows: Sequence[Mapping[str, Any]], name: str) -> np.ndarray:
    values = [row.get(name) for row in rows]
    return np.array([np.nan if x is None else float(x) for x in values])


@styled
def learning_curves_figure(results: Sequence[EnvironmentResult]) -> Figure:
    """Draws the return (or loss) during training, a panel an environment, training's first."""
    if not results:
        return message_figure("Learning curves", "Nothing was evaluated.")
    results = sorted(results, key=lambda result: result.held_out)
    rules = list(dict.fromkeys(rule for result in results for rule in result.rules))
    columns = min(len(results), 3)
    lines = -(-len(results) // columns)
    kind = results[0].kind
    figure = new_figure(9, 1.2 + 2.7 * lines, f"{kind.label} over training")
    axes = figure.subplots(lines, columns, squeeze=False).ravel()
    for ax, result in zip(axes, results, strict=False):
        _curves_panel(ax, result, rules)
        ax.set_ylabel(result.kind.label if ax.get_subplotspec().is_first_col() else "")
    for ax in axes[len(results) :]:
        ax.set_axis_off()
    handles: dict[str, Any] = {}
    for ax in axes:
        handles.update({text: h for h, text in zip(*ax.get_legend_handles_labels(), strict=True)})
    figure.legend(handles.values(), handles.keys(), loc="outside lower left", ncols=7)
    return figure


def _curves_panel(ax: Axes, result: EnvironmentResult, rules: Sequence[str]) -> None:
    top = float(result.steps[-1])
    unit, name = _unit(top)
    for rule in result.rules:
        style = look(rule, rules)
        value, low, high = curve_interval(result.filled_curves(rule))
        steps = result.steps / unit
        ax.fill_between(steps, low, high, color=style.color, alpha=0.15, lw=0)
        ax.plot(steps, value, color=style.color, ls=style.dashes, label=style.label)
    if result.random_score is not None:
        ax.axhline(result.random_score, color=RANDOM, ls=":", lw=1.3, label=result.kind.floor)
    ax.set_xlim(0, top / unit)
    ax.set(xlabel=f"{result.kind.steps.capitalize()}{name}")
    if result.kind.lower_is_better and np.nanmin(result.scores[result.rules[0]]) > 0:
        ax.set_yscale("log")
    note = split_label(result)
    ax.set_title(f"{result.env}\n", fontsize=10)
    ax.text(0, 1.025, note, transform=ax.transAxes, fontsize=8.5, color=MUTED,
            style="italic" if result.held_out else "normal")  # fmt: skip


@styled
def scores_figure(results: Sequence[EnvironmentResult], reference: str = "ppo") -> Figure:
    """Draws final scores with intervals, rescaled so that random is 0 and the reference 1."""
    drawn = [(result, scaled) for result in sorted(results, key=lambda result: result.held_out)
             if (scaled := _normalised(result, reference))]  # fmt: skip
    floor = drawn[0][0].kind.floor if drawn else "random agent"
    title = f"Final score, from the {floor} (0) to {look(reference).label} (1)"
    if not drawn:
        return message_figure(title, f"No environment has both a random score and {reference}.")
    rules = list(dict.fromkeys(rule for result, _ in drawn for rule in result.rules))
    figure = new_figure(9, 1.3 + (0.34 + 0.16 * len(rules)) * len(drawn), title)
    ax = figure.subplots()
    for i, (_, scaled) in enumerate(drawn):
        if i % 2:
            ax.axhspan(i - 0.5, i + 0.5, color=FAINT, alpha=0.45, lw=0, zorder=0)
        for rule, values in scaled.items():
            style = look(rule, rules)
            at = i + 0.7 * ((rules.index(rule) + 0.5) / len(rules) - 0.5)
            value, low, high = interval(values)
            ax.plot([low, high], [at, at], color=style.color, lw=2.2, solid_capstyle="butt")
            ax.plot(value, at, style.marker, color=style.color, ms=6, label=style.label)
    ax.axvline(0, color=RANDOM, ls=":", lw=1.3)
    ax.axvline(1, color=look(reference, rules).color, lw=0.9)
    ax.set_yticks(range(len(drawn)), [f"{r.env}\n{split_label(r)}" for r, _ in drawn])
    ax.tick_params(axis="y", length=0, labelcolor=INK)
    ax.grid(False, axis="y")
    ax.set_ylim(len(drawn) - 0.5, -0.5)
    unit = drawn[0][0].kind.unit
    ax.set_xlabel(f"Normalised score: interquartile mean over {unit}s, 95% interval")
    labelled = dict(zip(*reversed(ax.get_legend_handles_labels()), strict=True))
    figure.legend(labelled.values(), labelled.keys(), loc="outside lower left", ncols=7)
    return figure


def split_label(result: EnvironmentResult) -> str:
    """Says whether the learned rule knows the environment; nothing without a learned rule."""
    if result.held_out:
        return "never seen"
    return "trained here" if any(map(is_learned, result.rules)) else ""


def _normalised(result: EnvironmentResult, reference: str) -> dict[str, np.ndarray]:
    """Normalised scores of every rule; empty where the environment cannot be normalised."""
    try:
        return {rule: normalised_scores(result, rule, reference) for rule in result.rules}
    except ConfigError:
        return {}


@styled
def tasks_figure(results: Sequence[EnvironmentResult]) -> Figure:
    """Draws single tasks: learned optimizers against the band of all tuned baselines.

    Args:
      results: whose n-th curves are of the same task; the first that was trained on is drawn.
    """
    title = "Training on single tasks, against the band of the tuned baselines"
    paired = [result for result in sorted(results, key=lambda r: r.held_out) if result.kind.paired]
    if not paired:
        return message_figure(title, "No tasks were shared.")
    result = paired[0]
    count = min(_TASKS, next(iter(result.scores.values())).size)
    columns = min(count, 3)
    rows = -(-count // columns)
    figure = new_figure(9, 1.0 + 2.2 * rows, f"{result.env}: single tasks against tuned baselines")
    axes = figure.subplots(rows, columns, squeeze=False, sharex=True).ravel()
    for task, ax in zip(range(count), axes, strict=False):
        _task_panel(ax, result, task)
        ax.set_title(f"Task {task + 1}")
        ax.set_ylabel(result.kind.label if ax.get_subplotspec().is_first_col() else "")
        if task + columns >= count:  # nothing below
            ax.set_xlabel(result.kind.steps.capitalize())
            ax.tick_params(labelbottom=True)
    for ax in axes[count:]:
        ax.set_axis_off()
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower left", ncols=6)
    return figure


def _task_panel(ax: Axes, result: EnvironmentResult, task: int) -> None:
    tuned = [name for name in result.rules if not is_learned(name) and name != START]
    if tuned:
        curves = np.stack([result.curves[name][task] for name in tuned])
        low, high = np.fmin.reduce(curves), np.fmax.reduce(curves)
        ax.fill_between(
            result.steps, low, high, color="#0072B2", alpha=0.22, lw=0, label="tuned baselines"
        )
        ax.plot(result.steps, low, color="#0072B2", lw=0.9, label="best of them")
    for name in (n for n in result.rules if n not in tuned):
        style = look(name, result.rules)
        ax.plot(
            result.steps, result.curves[name][task],
            color=style.color, ls=style.dashes, lw=1.6, label=style.label,
        )  # fmt: skip
    if all_positive([result.curves[name][task] for name in result.rules]):
        ax.set_yscale("log")


def all_positive(curves: Sequence[np.ndarray]) -> bool:
    """Whether all finite values are positive, so that a logarithmic axis can show them."""
    values = np.concatenate([np.ravel(x) for x in curves])
    values = values[np.isfinite(values)]
    return bool(values.size) and bool(values.min() > 0)
