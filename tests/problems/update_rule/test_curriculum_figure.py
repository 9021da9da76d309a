import numpy as np
import pytest
from matplotlib.figure import Figure

from metarl.core.errors import ConfigError
from metarl.evaluation import style
from metarl.problems.update_rule.curriculum_figure import (
    SCORE,
    CurriculumMoment,
    LevelHistogram,
    curriculum_figure,
    summarise,
)

EDGES = {"Grid size": np.arange(3.5, 8), SCORE: [0.0, 0.5, 1.0]}


def moment(time, sizes, scores=None, edges=EDGES):
    sizes = np.asarray(sizes)
    scores = np.full(len(sizes), 0.25) if scores is None else np.asarray(scores)
    snapshot = {"levels": {"size": sizes}, "scores": scores}
    return summarise(time, snapshot, {"Grid size": lambda levels: levels["size"]}, edges)


def lines(ax):
    return {line.get_label(): np.asarray(line.get_ydata()) for line in ax.lines}


def test_only_evaluated_levels_count():
    made = moment(3, [4, 5, 5, 7, 99], [0.1, 0.6, np.nan, 0.7, -5.0])
    assert made.time == 3.0
    np.testing.assert_array_equal(made.features["Grid size"].counts, [1, 1, 0, 2])
    np.testing.assert_array_equal(made.scores.counts, [2, 2])


@pytest.mark.parametrize(
    ("edges", "message"),
    [
        ({SCORE: [0, 1]}, "No edges for 'Grid size'"),
        ({"Grid size": [1, 2]}, "No edges for 'score'"),
        ({"Grid size": [2, 1], SCORE: [0, 1]}, "must rise"),
        ({"Grid size": [2], SCORE: [0, 1]}, "must rise"),
    ],
)
def test_wrong_edges_are_refused(edges, message):
    with pytest.raises(ConfigError, match=message):
        moment(0, [4], edges=edges)


def test_the_drawn_lines_are_the_quantiles():
    """Ten levels in each of bins 4 and 5, then all in bin 7: medians 4.5 and 7."""
    figure = curriculum_figure([moment(0, [4, 5] * 10), moment(10, [7] * 20)])
    heat, side, *_ = figure.axes
    drawn = lines(heat)
    np.testing.assert_allclose(drawn["median"], [4.5, 7.0], atol=1e-12)
    # A tenth of all is a fifth of the first bin; in one full bin it is a tenth of the bin.
    np.testing.assert_allclose(drawn["middle 80%"], [3.5 + 0.2, 6.5 + 0.1], atol=1e-12)
    np.testing.assert_allclose(heat.lines[2].get_ydata(), [5.5 - 0.2, 7.5 - 0.1], atol=1e-12)
    (mesh,) = heat.collections
    np.testing.assert_allclose(
        np.reshape(mesh.get_array(), (4, 2)), [[0.5, 0], [0.5, 0], [0, 0], [0, 1]]
    )
    shares = {patch.get_label(): patch.get_data().values for patch in side.patches}
    np.testing.assert_allclose(shares["at the start"], [0.5, 0.5, 0, 0])
    np.testing.assert_allclose(shares["at the end"], [0, 0, 0, 1])
    np.testing.assert_allclose(heat.get_xlim(), (-5, 15))


def test_labels_say_what_is_drawn():
    figure = curriculum_figure([moment(0, [4]), moment(1, [5])], "Regret", "Meta-step")
    assert [ax.get_ylabel() for ax in figure.axes[::2]] == ["Grid size", "Regret"]
    assert figure.axes[2].get_xlabel() == "Meta-step"
    (legend,) = figure.legends
    words = [text.get_text() for text in legend.get_texts()]
    assert words == ["median", "middle 80%", "at the start", "at the end"]


def test_one_moment_and_none_are_drawn():
    assert style.svg_or_png(curriculum_figure([moment(5, [4, 7])])).startswith("data:image/png")
    empty = moment(0, [4], [np.nan])
    for nothing in ([], [empty]):
        figure = curriculum_figure(nothing)
        assert isinstance(figure, Figure)
        assert any(text.get_text().endswith("evaluated.") for text in figure.texts)
    both = curriculum_figure([empty, moment(2, [4]), moment(3, [4])])
    np.testing.assert_allclose(both.axes[0].lines[0].get_xdata(), [2, 3])


def test_moments_that_do_not_belong_together_are_refused():
    other = CurriculumMoment(1, {}, LevelHistogram(np.array([0.0, 1.0]), np.array([1])))
    moved = moment(1, [4], edges={**EDGES, "Grid size": np.arange(2.5, 7)})
    for second, message in [
        (other, "same features"),
        (moved, "same edges"),
        (moment(0, [4]), "follow one another"),
    ]:
        with pytest.raises(ConfigError, match=message):
            curriculum_figure([moment(0, [4]), second])
