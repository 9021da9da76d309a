import base64
import os
import subprocess
import sys

import numpy as np
import pytest
from matplotlib.figure import Figure

from metarl.evaluation import figures, style

PNG = b"\x89PNG\r\n\x1a\n"


def lines(figure):
    return {line.get_label(): line for ax in figure.axes for line in ax.lines}


def no_text_leaves(figure):
    """Every visible text lies inside the figure once it is laid out."""
    figure.canvas.draw()
    width, height = figure.bbox.width, figure.bbox.height
    for text in figure.findobj(lambda x: hasattr(x, "get_text") and x.get_visible()):
        if text.get_text().strip() and text.axes is not None and text in text.axes.texts:
            box = text.get_window_extent()
            assert box.x0 > -2, text
            assert box.x1 < width + 2, text
            assert box.y0 > -2, text
            assert box.y1 < height + 2, text


def test_training_shows_mean_best_and_steps():
    rows = [
        {"generation": g, "fitness_mean": 10.0 * g, "fitness_best": 20.0 * g,
         "fitness_worst": None, "env_steps": 1000 * g, "diverged": int(g == 2)}
        for g in range(1, 5)
    ]  # fmt: skip
    figure = figures.training_figure(rows)
    drawn = lines(figure)
    np.testing.assert_array_equal(drawn["mean"].get_ydata(), [10, 20, 30, 40])
    np.testing.assert_array_equal(drawn["best member"].get_ydata(), [20, 40, 60, 80])
    np.testing.assert_array_equal(drawn["a member diverged"].get_xdata(), [2])
    (steps,) = figure.axes[0].child_axes
    figure.canvas.draw()
    low, high = figure.axes[0].get_xlim()
    assert steps.get_xlim() == pytest.approx((low, high))  # a thousand steps a generation
    assert steps.get_xlabel() == "Environment steps (thousands)"


@pytest.mark.parametrize("count", [0, 1])
def test_short_training_is_drawn(count):
    figure = figures.training_figure([{"generation": 1, "fitness_mean": 3.0}][:count])
    assert style.svg_or_png(figure).startswith("data:image/png;base64,")


def test_curves_panels(make_result):
    unseen = make_result("toy/b", {"ppo": [1.0, 2.0, 3.0]}, held_out=True, random_score=None)
    seen = make_result("toy/a", {"learned": [4.0] * 4, "ppo": [8.0] * 4})
    figure = figures.learning_curves_figure([unseen, seen])
    first, second = figure.axes[:2]
    assert first.get_title(loc="left").strip() == "toy/a"
    assert second.get_title(loc="left").strip() == "toy/b"
    assert [t.get_text() for t in first.texts] == ["trained here"]
    assert [t.get_text() for t in second.texts] == ["never seen"]
    drawn = {line.get_label(): line for line in first.lines}
    # Float64 means of few numbers.
    np.testing.assert_allclose(drawn["PPO"].get_ydata(), [2, 4, 6, 8], rtol=1e-12)
    np.testing.assert_allclose(drawn["PPO"].get_xdata(), [100, 200, 300, 400])
    assert drawn["random agent"].get_ydata()[0] == 0.0
    assert "random agent" not in {line.get_label() for line in second.lines}
    (legend,) = figure.legends
    assert [t.get_text() for t in legend.get_texts()] == ["learned", "PPO", "random agent"]
    no_text_leaves(figure)


def test_scores_are_normalised(make_result):
    result = make_result("toy/a", {"learned": [6.0] * 4, "ppo": [11.0] * 4}, random_score=1.0)
    figure = figures.scores_figure([result])
    drawn = lines(figure)
    assert drawn["learned"].get_xdata()[0] == pytest.approx(0.5)
    assert drawn["PPO"].get_xdata()[0] == pytest.approx(1.0)
    bad = make_result("toy/b", {"ppo": [0.0]}, random_score=1.0)
    texts = [text.get_text() for text in figures.scores_figure([bad]).texts]
    assert any("No environment has both" in text for text in texts)


@pytest.mark.parametrize("make", [figures.tasks_figure, figures.learning_curves_figure])
def test_nothing_to_draw_says_so(make):
    assert any(text.get_text().endswith(".") for text in make([]).texts)


def test_png_has_twice_the_nominal_size(tmp_path):
    figure = style.message_figure("Title", "Words.")
    uri = style.svg_or_png(figure)
    data = base64.b64decode(uri.removeprefix("data:image/png;base64,"))
    assert data.startswith(PNG)
    assert int.from_bytes(data[16:20], "big") == 2 * 900  # the width field of the PNG header
    style.save(figure, tmp_path / "new" / "figure.png")
    assert (tmp_path / "new" / "figure.png").read_bytes().startswith(PNG)


def test_rules_keep_their_colours():
    fixed = {style.look(rule).color for rule in ("ppo", "dpo", "mdpo", "learned")}
    assert len(fixed) == 4
    two = ["lpo-a", "ppo", "lpo-b"]
    assert style.look("lpo-a", two).color != style.look("lpo-b", two).color
    assert style.look("ppo", two) == style.look("ppo")


def test_a_registered_baseline_is_no_learned_rule(monkeypatch):
    monkeypatch.setattr(style, "_labels", dict(style._labels))
    monkeypatch.setattr(style, "_references", dict(style._references))
    assert style.is_learned("mine")
    style.register_baselines({"mine": "My baseline"})
    assert not style.is_learned("mine")
    assert style.label("mine") == "My baseline"
    assert style.look("mine", ["mine", "ppo"]).color != style.look("ppo", ["mine", "ppo"]).color


def test_no_global_state_is_left_behind():
    # Reading the rcParam "backend" would import pyplot by itself.
    code = (
        "import sys, matplotlib;"
        "now = lambda: {k: matplotlib.rcParams[k] for k in matplotlib.rcParams if k != 'backend'};"
        "before = now();"
        "from metarl.evaluation import figures, style; style.svg_or_png(figures.tasks_figure([]));"
        "assert 'matplotlib.pyplot' not in sys.modules;"
        "assert before == now()"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env=os.environ.copy())


def test_figures_are_plain_values():
    assert isinstance(figures.learning_curves_figure([]), Figure)
