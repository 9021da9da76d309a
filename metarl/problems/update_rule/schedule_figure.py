"""Schedule of a temporal update rule: the same update at every age of a lifetime."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure

from metarl.evaluation.style import INK, message_figure, new_figure, styled

_TITLE = "The schedule that it learned"
_COLORS = ("#56B4E9", "#E69F00", "#D55E00", "#CC79A7")


class ScheduleCurve(NamedTuple):
    """One update of the same agents on the same experience, at several ages.

    Attributes:
      lifetime: N, updates of the lifetime that the rule is given.
      progress: n/N, elapsed fraction of the lifetime, `[A]`.
      step: mean KL(policy before the update || policy after it), in nats, `[A]`.
      entropy: mean change of the policy's entropy, in nats, `[A]`.
    """

    lifetime: int
    progress: np.ndarray
    step: np.ndarray
    entropy: np.ndarray


@styled
def schedule_figure(curves: Sequence[ScheduleCurve]) -> Figure:
    """Draws the size of policy updates and the change of entropy over a lifetime."""
    if not curves:
        return message_figure(_TITLE, "No ages were measured.")
    figure = new_figure(9, 3.4, _TITLE)
    axes = figure.subplots(1, 2)
    for i, curve in enumerate(curves):
        color, name = _COLORS[i % len(_COLORS)], f"{curve.lifetime} updates"
        axes[0].plot(curve.progress, curve.step, color=color, label=name)
        axes[1].plot(curve.progress, curve.entropy, color=color, label=name)
    axes[0].set(title="How far one update moves the policy", ylabel="KL divergence (nats)")
    axes[0].set_ylim(bottom=0.0)
    axes[1].axhline(0.0, color=INK, linewidth=0.8)
    axes[1].set(title="What it does to the entropy", ylabel="Change (nats)")
    for axis in axes:
        axis.set(xlabel="Elapsed fraction of the lifetime (n/N)", xlim=(0.0, 1.0))
    axes[1].legend(title="Lifetime")
    return figure
