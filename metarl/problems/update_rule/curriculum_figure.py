"""How a curriculum moves: histograms of the levels that it keeps, over time."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from metarl.core.errors import ConfigError
from metarl.core.types import Array, Task
from metarl.evaluation.style import INK, MUTED, look, message_figure, new_figure, styled

SCORE = "score"
"""The name of the scores among the edges of the histograms."""
_TITLE = "The levels that the curriculum keeps"


class LevelHistogram(NamedTuple):
    """Levels counted by the value of one feature.

    Attributes:
      edges: of the bins, rising, `[H+1]`.
      counts: of levels, `[H]`.
    """

    edges: np.ndarray
    counts: np.ndarray


class CurriculumMoment(NamedTuple):
    """What a curriculum kept at one time: little enough to remember many of them.

    Attributes:
      time: of the loop around the curriculum.
      features: histograms of the evaluated levels, by the name of a feature.
      scores: the histogram of their scores.
    """

    time: float
    features: Mapping[str, LevelHistogram]
    scores: LevelHistogram


def summarise(
    time: float,
    snapshot: Mapping[str, Any],
    features: Mapping[str, Callable[[Task], Array]],
    edges: Mapping[str, Sequence[float] | np.ndarray],
) -> CurriculumMoment:
    """Counts the evaluated levels of a curriculum's snapshot.

    Args:
      time: of the snapshot.
      snapshot: has `levels [C, ...]` and `scores [C]`, NaN where not evaluated.
      features: `levels -> values [C]`, by the name that people read.
      edges: bins of every feature and of `SCORE`; what lies outside counts in the outermost bin.

    Raises:
      ConfigError: a feature has no edges, or edges do not rise.
    """
    scores = np.asarray(snapshot["scores"], float)
    evaluated = np.isfinite(scores)

    def count(name: str, values: Any) -> LevelHistogram:
        if name not in edges:
            raise ConfigError(f"No edges for {name!r}; there are some for {sorted(edges)}.")
        bins = np.asarray(edges[name], float)
        if bins.ndim != 1 or bins.size < 2 or not (np.diff(bins) > 0).all():
            raise ConfigError(f"Edges of {name!r} must rise, got {bins.tolist()}.")
        shown = np.clip(np.asarray(values, float)[evaluated], bins[0], bins[-1])
        return LevelHistogram(bins, np.histogram(shown, bins)[0])

    levels = snapshot["levels"]
    counted = {name: count(name, feature(levels)) for name, feature in features.items()}
    return CurriculumMoment(float(time), counted, count(SCORE, scores))


@styled
def curriculum_figure(
    moments: Sequence[CurriculumMoment],
    score_label: str = "Score",
    time_label: str = "Outer step",
) -> Figure:
    """Draws each feature, and the score, as a heat map over time beside its start and its end.

    Args:
      moments: in the order of time; those without any level are left out.
      score_label: what the score is, such as `Algorithmic regret`.
      time_label: what the time counts.

    Raises:
      ConfigError: moments differ in their features or in the edges of their bins.
    """
    moments = [moment for moment in moments if moment.scores.counts.sum() > 0]
    if not moments:
        return message_figure(_TITLE, "No level was evaluated.")
    times = np.array([moment.time for moment in moments])
    if (np.diff(times) <= 0).any():
        raise ConfigError("Moments of a curriculum must follow one another in time.")
    names = list(moments[0].features)
    if any(list(moment.features) != names for moment in moments):
        raise ConfigError("Moments of a curriculum must have the same features.")
    rows = [(name, [moment.features[name] for moment in moments]) for name in names]
    rows.append((score_label, [moment.scores for moment in moments]))
    figure = new_figure(9, 1.3 + 1.9 * len(rows), _TITLE)
    axes = figure.subplots(
        len(rows), 2, squeeze=False, sharey="row", sharex="col", width_ratios=(3.2, 1)
    )
    for (ax, side), (name, histograms) in zip(axes, rows, strict=True):
        _heat_map(ax, times, histograms, name)
        _start_and_end(side, histograms)
        ax.set_ylabel(name)
    figure.align_ylabels(list(axes[:, 0]))
    _label_columns(axes, times, time_label)
    handles = {t: h for x in axes[0] for h, t in zip(*x.get_legend_handles_labels(), strict=True)}
    figure.legend(handles.values(), handles.keys(), loc="outside lower left", ncols=4)
    return figure


def _heat_map(ax: Axes, times: np.ndarray, rows: Sequence[LevelHistogram], name: str) -> None:
    """Draws the share of levels in every bin at every time, with median and middle 80%."""
    edges = rows[0].edges
    if any(not np.array_equal(row.edges, edges) for row in rows):
        raise ConfigError(f"Histograms of {name!r} must have the same edges at all times.")
    shares = np.stack([_shares(row) for row in rows], axis=1)
    # Only the lighter part of the map, so that the lines stay visible.
    ax.pcolormesh(
        _borders(times), edges, shares, vmin=0, vmax=1.5 * shares.max(), cmap="Blues",
        rasterized=True,
    )  # fmt: skip
    low, median, high = (np.array([_quantile(row, q) for row in rows]) for q in (0.1, 0.5, 0.9))
    marker = "o" if len(times) == 1 else None
    color = look("learned").color
    ax.plot(times, median, color=color, marker=marker, label="median")
    ax.plot(times, low, color=INK, lw=0.9, ls=(0, (4, 2)), marker=marker, label="middle 80%")
    ax.plot(times, high, color=INK, lw=0.9, ls=(0, (4, 2)), marker=marker)
    ax.grid(False)
    ax.set_ylim(edges[0], edges[-1])


def _start_and_end(ax: Axes, rows: Sequence[LevelHistogram]) -> None:
    first, last = rows[0], rows[-1]
    color = look("learned").color
    drawn: dict[str, Any] = {"orientation": "horizontal", "baseline": 0}
    ax.stairs(_shares(first), first.edges, color=MUTED, lw=1.4, zorder=3, label="at the start",
              **drawn)  # fmt: skip
    ax.stairs(_shares(last), last.edges, fill=True, color=color, alpha=0.4, lw=0,
              label="at the end", **drawn)  # fmt: skip


def _label_columns(axes: np.ndarray, times: np.ndarray, time_label: str) -> None:
    axes[0, 0].set_title("Over time (darker: more levels)")
    axes[0, 1].set_title("Start and end")
    borders = _borders(times)
    axes[-1, 0].set(xlabel=time_label, xlim=(borders[0], borders[-1]))
    if len(times) == 1:
        axes[-1, 0].set_xticks(times)
    axes[-1, 1].set(xlabel="Share of levels", xlim=(0, None))
    axes[-1, 1].xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axes[-1, 1].xaxis.set_major_locator(MaxNLocator(3))


def _shares(row: LevelHistogram) -> np.ndarray:
    return row.counts / row.counts.sum()


def _quantile(row: LevelHistogram, q: float) -> float:
    """Where a share `q` of the levels lies below, as if spread evenly within each bin."""
    below = np.concatenate([[0.0], np.cumsum(_shares(row))])
    bin_ = int(np.searchsorted(below, q)) - 1
    inside = (q - below[bin_]) / (below[bin_ + 1] - below[bin_])
    return float(row.edges[bin_] + inside * (row.edges[bin_ + 1] - row.edges[bin_]))


def _borders(times: np.ndarray) -> np.ndarray:
    """Borders of the columns around the times, `[len(times) + 1]`."""
    if len(times) == 1:
        return times[0] + np.array([-0.5, 0.5])
    middle = (times[1:] + times[:-1]) / 2
    outer = 2 * times[[0, -1]] - middle[[0, -1]]
    return np.concatenate([outer[:1], middle, outer[1:]])
