"""Figure and summary of drifts over the plane of ratio and advantage."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.colors import Normalize, PowerNorm
from matplotlib.figure import Figure

from metarl.evaluation.style import (
    INK,
    MUTED,
    Look,
    baselines,
    is_learned,
    label,
    look,
    message_figure,
    new_figure,
    styled,
)
from metarl.problems.drift.plane import DriftGrid, quadrants, reversed_share

SHOWN_ADVANTAGES = (-2.0, -0.5, 0.5, 2.0)


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
    known = [grid for grid in grids if grid.name in baselines()]
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


def describe_drift(grid: DriftGrid, others: Sequence[DriftGrid] = ()) -> str:
    """Says in which of the four kinds of update a drift takes most away."""
    found = quadrants(grid)
    if not found:
        return f"The {label(grid.name)} drift is zero over the whole plane: it restrains nothing."
    main = [q for q in found if q.share >= 0.2] or found[:1]
    where = " and ".join(f"where {q.words} ({q.share:.0%} of its total)" for q in main)
    text = (
        f"The {label(grid.name)} drift penalises mostly {where}. On {reversed_share(grid):.0%} of "
        "the plane it turns the policy gradient round, pulling the ratio back"
    )
    beside = ", ".join(f"{label(g.name)}: {reversed_share(g):.0%}" for g in others)
    return text + (f" ({beside})." if beside else ".")
