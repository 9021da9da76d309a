"""Figures of optimizers: curves of single tasks, updates against gradients, validation."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.figure import Figure

from metarl.evaluation.figures import all_positive
from metarl.evaluation.style import (
    FAINT,
    MUTED,
    look,
    message_figure,
    new_figure,
    styled,
)

_COLORS = ("#0072B2", "#8b939b", "#D55E00", "#E69F00", "#CC79A7")


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
        if all_positive([c.last for c in curves] + [c.mean for c in curves]):
            ax.set_yscale("log")
    axes[0].set_ylabel("Training loss (1 is nothing learned)")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower left", ncols=3)
    return figure
