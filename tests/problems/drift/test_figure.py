"""The figure of drifts and its summary, on grids whose values are known."""

import numpy as np

from metarl.problems import registry
from metarl.problems.drift.figure import describe_drift, drift_figure
from metarl.problems.drift.plane import DriftGrid, drift_grid

registry.kinds()  # registers the labels of baselines


def grid(name, scale=1.0):
    ratios, advantages = np.linspace(0.5, 1.7, 13), np.linspace(-3, 3, 7)
    drift = scale * np.maximum(advantages[:, None] * (ratios - 1), 0)
    return DriftGrid(name, ratios, advantages, drift, np.ones_like(drift))


def test_drift_lines_are_the_grid():
    figure = drift_figure([grid("learned", 2.0), grid("ppo")])
    top_left = figure.axes[0]
    assert top_left.get_title(loc="left") == "Advantage -2.0"
    shown = {line.get_label(): line.get_ydata() for line in top_left.lines}
    np.testing.assert_array_equal(shown["learned"], grid("learned", 2.0).drift[1])
    np.testing.assert_array_equal(shown["PPO"], grid("ppo").drift[1])
    assert len(figure.axes) == 2 * 4 + 2 + 1  # slices, maps, colour bar
    maps = [m for ax in figure.axes for m in ax.collections if hasattr(m, "norm") and m.norm]
    scales = {(m.norm.vmin, m.norm.vmax) for m in maps if m.get_array() is not None}
    assert (0.0, grid("learned", 2.0).drift.max()) in scales


def test_a_huge_learned_drift_does_not_flatten_the_others():
    figure = drift_figure([grid("learned", 1000.0), grid("ppo")])
    shown = grid("ppo").drift[[1, 5]].max()
    assert figure.axes[0].get_ylim()[1] < 5 * shown
    texts = [t.get_text() for ax in figure.axes for t in ax.texts]
    assert "lines go on beyond the panel" in texts


def test_where_a_drift_penalises():
    grid = drift_grid("learned", lambda r, a: 9.0 * ((r - 1) * a > 0) * ((r - 1) * a) ** 2)
    text = describe_drift(grid)
    assert "a good action has become more likely" in text
    assert "a bad action has become less likely" in text
    assert "less likely (" in text
    assert "has become less likely" not in text.replace("a bad action has become less likely", "")
    nothing = drift_grid("learned", lambda r, a: 0.0 * r)
    assert "zero over the whole plane" in describe_drift(nothing)


def test_nothing_to_draw_is_stated():
    assert any(text.get_text() == "No drift was tabulated." for text in drift_figure([]).texts)
