"""How every figure looks, and how one leaves the process. No pyplot: figures are plain values."""

import base64
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Any, NamedTuple, ParamSpec

import matplotlib
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

P = ParamSpec("P")

INK, MUTED, FAINT = "#1f2328", "#626a73", "#e4e7ea"
DPI = 100

RC: dict[Any, Any] = {
    "axes.edgecolor": "#8b939b",
    "axes.grid": True,
    "axes.labelcolor": INK,
    "axes.labelsize": 9.5,
    "axes.linewidth": 0.8,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlepad": 7,
    "axes.titlesize": 10.5,
    "axes.axisbelow": True,
    "figure.facecolor": "white",
    "figure.titlesize": 12.5,
    "figure.titleweight": "bold",
    "font.family": ["DejaVu Sans"],
    "font.size": 9.5,
    "grid.color": FAINT,
    "grid.linewidth": 0.8,
    "legend.frameon": False,
    "legend.fontsize": 9.5,
    "lines.linewidth": 1.9,
    "svg.fonttype": "none",
    "text.color": INK,
    "xtick.color": MUTED,
    "xtick.labelsize": 8.5,
    "ytick.color": MUTED,
    "ytick.labelsize": 8.5,
}

START = "start"
"""Name in results of theta before meta-training."""

# Okabe and Ito's palette (2008), distinct under every common color blindness; the dashes and
# markers distinguish the rules in black and white.
_BASELINES: tuple[tuple[str, Any, str], ...] = (
    ("#0072B2", "-", "o"),
    ("#E69F00", (0, (5, 1.5)), "s"),
    ("#009E73", (0, (4, 1.5, 1, 1.5)), "^"),
    ("#7a5195", (0, (1.5, 1.5)), "v"),
    ("#56B4E9", (0, (3, 1, 1, 1, 1, 1)), "X"),
)
_LEARNED = ("#D55E00", "#CC79A7", "#8c564b")
_labels: dict[str, str] = {}
_references: dict[str, None] = {}
RANDOM = MUTED


def register_baselines(labels: Mapping[str, str]) -> None:
    """Registers names of baselines with their labels; every other name is of something learned.

    Args:
      labels: name -> label, such as `{"ppo": "PPO"}`; the first one is a reference.
    """
    _labels.update(labels)
    _references.update(dict.fromkeys(list(labels)[:1]))


def baselines() -> list[str]:
    """Names of all registered baselines, in the order of registration."""
    return list(_labels)


def references() -> list[str]:
    """Names of the baselines that may stand for 1 in normalized scores, the preferred one first."""
    return list(_references)


class Look(NamedTuple):
    """Line and marker style of one rule.

    Attributes:
      label: name shown in figures and tables.
      color: cool for baselines, warm for learned rules.
      dashes: matplotlib line style.
      marker: matplotlib marker.
    """

    label: str
    color: str
    dashes: Any
    marker: str


def look(rule: str, rules: Sequence[str] = ()) -> Look:
    """Returns the style of a rule, by its index among the baselines or learned ones of `rules`."""
    if rule == START:
        return Look(START, "#8b939b", (0, (2, 2)), "P")
    if rule in _labels:
        shown = [name for name in rules if name in _labels]
        index = (shown if rule in shown else baselines()).index(rule)
        return Look(_labels[rule], *_BASELINES[index % len(_BASELINES)])
    learned = [name for name in rules if is_learned(name)]
    index = learned.index(rule) if rule in learned else 0
    return Look(rule, _LEARNED[index % len(_LEARNED)], "-", "D")


def is_learned(rule: str) -> bool:
    """Whether a rule is neither a registered baseline nor theta before meta-training."""
    return rule not in _labels and rule != START


def label(rule: str) -> str:
    """Returns the label of a rule, such as `PPO`."""
    return look(rule).label


@contextmanager
def _styled() -> Iterator[None]:
    with matplotlib.rc_context(RC):
        yield


def styled(make: Callable[P, Figure]) -> Callable[P, Figure]:
    """Decorates a function that makes a figure, so that it draws in the shared style."""

    @wraps(make)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> Figure:
        with _styled():
            return make(*args, **kwargs)

    return wrapped


def new_figure(width: float, height: float, title: str) -> Figure:
    """Makes an Agg figure of a size in inches (9 inches are 900 px) with a title."""
    layout = ConstrainedLayoutEngine(w_pad=0.06, h_pad=0.06)
    figure = Figure(figsize=(width, height), dpi=DPI, layout=layout)
    FigureCanvasAgg(figure)
    figure.suptitle(title, x=0.008, ha="left")
    return figure


def message_figure(title: str, message: str) -> Figure:
    """Makes a small figure that says why there is nothing to draw."""
    with _styled():
        figure = new_figure(9, 1.6, title)
        figure.text(0.01, 0.4, message, color=MUTED)
    return figure


def svg_or_png(figure: Figure) -> str:
    """Renders a figure as a `data:` URI (PNG at twice its nominal resolution)."""
    return "data:image/png;base64," + base64.b64encode(_png(figure)).decode("ascii")


def save(figure: Figure, path: str | Path) -> None:
    """Writes a figure as PNG at twice its nominal resolution, creating its folder."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(_png(figure))


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    with _styled():
        figure.savefig(buffer, format="png", dpi=2 * DPI)
    return buffer.getvalue()
