"""The figures of a report. Each function takes data and returns a matplotlib `Figure`."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Normalize, PowerNorm
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from metarl.core.errors import ConfigError
from metarl.evaluation.drift_plane import DriftGrid
from metarl.evaluation.measures import MEASURES, RETURN
from metarl.evaluation.results import EnvironmentResult
from metarl.evaluation.statistics import curve_interval, interval, normalised_scores
from metarl.evaluation.style import (
    FAINT,
    INK,
    MUTED,
    RANDOM,
    Look,
    is_learned,
    look,
    message_figure,
    new_figure,
    styled,
)

SHOWN_ADVANTAGES = (-2.0, -0.5, 0.5, 2.0)
_WRITTEN_DOWN = ("ppo", "dpo", "mdpo", "none", "a2c")


@styled
def drift_figure(grids: Sequence[DriftGrid]) -> Figure:
    """Draws drifts side by side: slices at four advantages, their gradients, and heat maps."""
    if not grids:
        return message_figure("The drift", "No drift was tabulated.")
    names = [grid.name for grid in grids]
    looks = [look(name, names) for name in names]
    title = "What the objectives take away: " + ", ".join(x.label for x in looks)
    figure = new_figure(9, 8.6, title)
    panels: Any = figure.subfigures(2, 1, height_ratios=(1.55, 1))
    slices, maps = panels
    axes = slices.subplots(2, len(SHOWN_ADVANTAGES), sharex=True, sharey="row")
    _slices(axes, grids, looks)
    handles, labels = axes[0, 0].get_legend_handles_labels()
    slices.legend(handles, labels, loc="outside upper left", ncols=6)
    _heat_maps(maps, grids, looks)
    return figure


def _slices(axes: np.ndarray, grids: Sequence[DriftGrid], looks: Sequence[Look]) -> None:
    rows = (("drift", "Drift"), ("objective_gradient", "Gradient of the objective"))
    for i, (field, ylabel) in enumerate(rows):
        low, high, cut = _limits(grids, field)
        for j, wanted in enumerate(SHOWN_ADVANTAGES):
            ax = axes[i, j]
            for grid, style in zip(grids, looks, strict=True):
                values = getattr(grid, field)[grid.row(wanted)]
                (line,) = ax.plot(grid.ratios, values, color=style.color, ls=style.dashes)
                line.set(label=style.label, zorder=3 if is_learned(grid.name) else 2)
            ax.axvline(1, color=MUTED, lw=0.7)
            ax.axhline(0, color=MUTED, lw=0.7)
            ax.set(ylim=(low, high), xlim=(grids[0].ratios[0], grids[0].ratios[-1]))
        axes[i, 0].set_ylabel(ylabel)
        if cut:
            axes[i, -1].annotate(
                "lines go on beyond the panel", (0.98, 0.02), xycoords="axes fraction",
                ha="right", va="bottom", fontsize=7.5, color=MUTED,
            )  # fmt: skip
    for ax, wanted in zip(axes[0], SHOWN_ADVANTAGES, strict=True):
        shown = grids[0].advantages[grids[0].row(wanted)]
        ax.set_title(f"Advantage {shown:+.1f}")
    for ax in axes[-1]:
        ax.set_xlabel("Ratio new / old")


def _limits(grids: Sequence[DriftGrid], field: str) -> tuple[float, float, bool]:
    """Common limits of a row; a learned rule may leave them at 4 times the written-down ones'."""

    def extent(chosen: Sequence[DriftGrid]) -> tuple[float, float]:
        shown = [getattr(g, field)[[g.row(a) for a in SHOWN_ADVANTAGES]] for g in chosen]
        finite = np.concatenate([x[np.isfinite(x)] for x in shown] + [np.zeros(1)])
        return float(finite.min()), float(finite.max())

    low, high = extent(grids)
    known = [grid for grid in grids if grid.name in _WRITTEN_DOWN]
    reach = 4 * max(map(abs, extent(known))) if known else 0.0
    cut = reach > 0 and max(-low, high) > reach
    if cut:
        low, high = max(low, -reach), min(high, reach)
    margin = 0.06 * ((high - low) or 1.0)
    return low - margin, high + margin, cut


def _heat_maps(figure: Any, grids: Sequence[DriftGrid], looks: Sequence[Look]) -> None:
    top = max(float(np.nanmax(np.where(np.isfinite(g.drift), g.drift, 0.0))) for g in grids)
    norm: Normalize = PowerNorm(0.5, vmin=0.0, vmax=top or 1.0)
    axes = np.atleast_1d(figure.subplots(1, len(grids), sharey=True))
    image = None
    for ax, grid, style in zip(axes, grids, looks, strict=True):
        image = ax.pcolormesh(
            grid.ratios, grid.advantages, grid.drift, norm=norm, cmap="YlGnBu",
            shading="nearest", rasterized=True,
        )  # fmt: skip
        ax.grid(False)
        ax.axvline(1, color=INK, lw=0.7, alpha=0.5)
        ax.axhline(0, color=INK, lw=0.7, alpha=0.5)
        ax.set_title(f"Drift of {style.label}")
        ax.set_xlabel("Ratio new / old")
    axes[0].set_ylabel("Advantage (standardised)")
    figure.colorbar(image, ax=list(axes), label="Drift (square-root scale)", pad=0.015, aspect=18)


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
    note = familiarity(result)
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
    ax.axvline(1, color=look(reference).color, lw=0.9)
    ax.set_yticks(range(len(drawn)), [f"{r.env}\n{familiarity(r)}" for r, _ in drawn])
    ax.tick_params(axis="y", length=0, labelcolor=INK)
    ax.grid(False, axis="y")
    ax.set_ylim(len(drawn) - 0.5, -0.5)
    unit = drawn[0][0].kind.unit
    ax.set_xlabel(f"Normalised score: interquartile mean over {unit}s, 95% interval")
    labelled = dict(zip(*reversed(ax.get_legend_handles_labels()), strict=True))
    figure.legend(labelled.values(), labelled.keys(), loc="outside lower left", ncols=7)
    return figure


def familiarity(result: EnvironmentResult) -> str:
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
