"""Figures of optimizers: curves of single tasks, updates against gradients, validation."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from metarl.evaluation.results import EnvironmentResult
from metarl.evaluation.style import (
    FAINT,
    MUTED,
    is_learned,
    look,
    message_figure,
    new_figure,
    styled,
)

_TASKS = 6
_COLORS = ("#0072B2", "#8b939b", "#D55E00", "#E69F00", "#CC79A7")


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
    hand_made = [name for name in result.rules if not is_learned(name) and name != "start"]
    if hand_made:
        curves = np.stack([result.curves[name][task] for name in hand_made])
        low, high = np.fmin.reduce(curves), np.fmax.reduce(curves)
        ax.fill_between(
            result.steps, low, high, color="#0072B2", alpha=0.22, lw=0, label="tuned baselines"
        )
        ax.plot(result.steps, low, color="#0072B2", lw=0.9, label="best of them")
    for name in (n for n in result.rules if n not in hand_made):
        style = look(name, result.rules)
        ax.plot(
            result.steps, result.curves[name][task],
            color=style.color, ls=style.dashes, lw=1.6, label=style.label,
        )  # fmt: skip
    if _positive([result.curves[name][task] for name in result.rules]):
        ax.set_yscale("log")


class UpdateCurves(NamedTuple):
    """What an optimizer does with a gradient.

    Attributes:
      name: of the optimizer.
      updates: `[scales, histories, gradients]`.
    """

    name: str
    updates: np.ndarray


@styled
def update_figure(
    curves: Sequence[UpdateCurves],
    gradients: np.ndarray,
    histories: Sequence[float],
    scales: Sequence[float],
) -> Figure:
    """Draws updates over gradients: a row an optimizer, a column a scale, a line a history.

    Args:
      curves: of each optimizer.
      gradients: the last one, in units of the scale.
      histories: the ones before, likewise.
      scales: of all gradients.
    """
    figure = new_figure(9, 0.9 + 2.3 * len(curves), "What is added to a parameter on a gradient")
    axes = figure.subplots(len(curves), len(scales), squeeze=False, sharex=True, sharey="row")
    for row, curve in zip(axes, curves, strict=True):
        for ax, scale, updates in zip(row, scales, curve.updates, strict=True):
            ax.axhline(0, color=MUTED, lw=0.7)
            ax.axvline(0, color=MUTED, lw=0.7)
            for i, (history, line) in enumerate(zip(histories, updates, strict=True)):
                ax.plot(gradients, line, color=_COLORS[i % len(_COLORS)], lw=1.6,
                        label=f"past gradients {history:+g}")  # fmt: skip
            ax.set_title(f"{look(curve.name).label}, gradients of {scale:g}", fontsize=9)
        row[0].set_ylabel("Update")
    for ax in axes[-1]:
        ax.set_xlabel("Gradient / scale")
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower left", ncols=5)
    return figure


class ValidationCurve(NamedTuple):
    """Losses on one family's held-out tasks over generations.

    Attributes:
      family: its name.
      generations: `[G]`.
      last: mean loss after the last update, `[G]`; NaN where a training diverged.
      mean: mean loss over the whole training, `[G]`.
    """

    family: str
    generations: np.ndarray
    last: np.ndarray
    mean: np.ndarray


@styled
def validation_figure(curves: Sequence[ValidationCurve]) -> Figure:
    """Draws the loss on held-out tasks over the generations of meta-training."""
    title = "Loss on held-out tasks during meta-training"
    if not curves:
        return message_figure(title, "Nothing was validated.")
    figure = new_figure(9, 3.4, title)
    axes: Any = figure.subplots(1, 2, sharex=True)
    for i, curve in enumerate(curves):
        color = _COLORS[(i + 2) % len(_COLORS)]
        for ax, values in zip(axes, (curve.last, curve.mean), strict=True):
            ax.plot(curve.generations, values, color=color, label=curve.family, marker="o", ms=3)
            lost = curve.generations[~np.isfinite(values)]
            ax.plot(lost, 0 * lost, "x", color=MUTED, transform=ax.get_xaxis_transform())
    for ax, title in zip(axes, ("After the last update", "Mean over training"), strict=True):
        ax.set(title=title, xlabel="Generation")
        ax.grid(color=FAINT)
        if _positive([c.last for c in curves] + [c.mean for c in curves]):
            ax.set_yscale("log")
    axes[0].set_ylabel("Training loss (1 is nothing learned)")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower left", ncols=3)
    return figure


def _positive(curves: Sequence[np.ndarray]) -> bool:
    """Whether a logarithmic axis can show them."""
    values = np.concatenate([np.ravel(x) for x in curves])
    values = values[np.isfinite(values)]
    return bool(values.size) and bool(values.min() > 0)
