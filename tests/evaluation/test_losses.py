"""Scores that are losses: lower is better, and two optimizers share their tasks."""

import json

import numpy as np
import pytest

from metarl.core.errors import ConfigError
from metarl.evaluation import figures
from metarl.evaluation.metric import measure_metric, steps_to
from metarl.evaluation.report import ReportInputs, render_report
from metarl.evaluation.results import load_results, save_results
from metarl.evaluation.statistics import (
    compare,
    difference_interval,
    normalised_scores,
    ratio_interval,
    summary,
)
from metarl.evaluation.verdict import pooled_difference, verdict
from metarl.problems.optimizer import figures as optimizer_figures

TASKS = np.geomspace(0.01, 1.0, 9)  # tasks differ far more than optimizers


@pytest.fixture
def losses(make_result):
    """`make(env, {rule: losses})`, of tasks, from an untrained loss of 1."""

    def make(env, scores, **changes):
        fields = {"measure": "training_loss", "random_score": 1.0, **changes}
        return make_result(env, scores, **fields)

    return make


def test_lower_is_better_and_tasks_are_paired(losses):
    rng = np.random.default_rng(0)
    result = losses("toy", {"learned": TASKS * rng.uniform(0.8, 0.9, 9), "adam": TASKS})
    found = compare(result, "learned", "adam")
    assert found.verdict == "better"
    assert found.value > 0
    # As if their tasks had nothing to do with each other, nobody could tell.
    unpaired = difference_interval(-result.scores["learned"], -result.scores["adam"])
    assert unpaired.value == found.value
    assert unpaired.verdict == "undecided"
    assert compare(result, "adam", "learned").verdict == "worse"
    with pytest.raises(ConfigError, match="Pairs of"):
        difference_interval([1.0, 2.0], [1.0], paired=True)


def test_lost_tasks_count_as_the_worst_loss(losses):
    result = losses("toy", {"learned": [0.1, np.nan], "adam": [0.2, 3.0]})
    np.testing.assert_array_equal(result.finite_scores("learned"), [0.1, 3.0])
    result = losses("toy", {"learned": [0.1, np.nan], "adam": [0.2, 0.3]})
    np.testing.assert_array_equal(result.finite_scores("learned"), [0.1, 1.0])


def test_normalised_from_the_untrained_network_to_the_reference(losses):
    result = losses("toy", {"learned": [0.25, 0.5, 1.5], "adam": [0.5] * 3})
    np.testing.assert_allclose(normalised_scores(result, "learned", "adam"), [1.5, 1, -1])
    with pytest.raises(ConfigError, match="must score above random"):
        normalised_scores(losses("toy", {"adam": [2.0]}), "adam", "adam")


def test_ratios_by_hand():
    found = ratio_interval([1.0, 2.0, 4.0], [2.0, 4.0, 8.0])
    np.testing.assert_allclose(found, 0.5, rtol=1e-15)
    # A half and a double weigh alike.
    assert ratio_interval([1.0, 4.0], [2.0, 2.0], np.mean).value == pytest.approx(1.0)
    # Of two places, each as often as it has tasks.
    pooled = ratio_interval({"x": [1.0, 1.0], "y": [6.0]}, {"x": [2.0, 2.0], "y": [2.0]}, np.mean)
    assert pooled.value == pytest.approx((0.5 * 0.5 * 3.0) ** (1 / 3))
    for a, b in [([1.0], [1.0, 2.0]), ([0.0], [1.0]), ([1.0], [-1.0])]:
        with pytest.raises(ConfigError, match="Ratios need"):
            ratio_interval(a, b)


def test_metrics_of_losses_and_of_further_measures(losses):
    curves = {"learned": np.outer(TASKS, [4.0, 3, 2, 1])}
    speed = {"speedup": {"learned": np.outer(np.ones(9), [np.nan, 1.0, 1.5, 2.0])}}
    adam = {name: x["learned"] for name, x in speed.items()}
    result = losses(
        "toy",
        {"learned": TASKS, "adam": 2 * TASKS},
        curves={**curves, "adam": 2 * curves["learned"]},
        further={"speedup": {**speed["speedup"], "adam": adam["speedup"] / 2}},
    )
    pair = {"rule": "learned", "baseline": "adam", "env": "toy"}
    assert measure_metric({"kind": "ratio", **pair}, [result]).value == pytest.approx(0.5)
    assert measure_metric({"kind": "iqm_difference", **pair}, [result]).low > 0
    of = {"kind": "iqm", "rule": "learned", "env": "toy", "of": "speedup"}
    np.testing.assert_allclose(measure_metric(of, [result]), 2.0)
    difference = measure_metric({"kind": "iqm_difference", **pair, "of": "speedup"}, [result])
    assert difference.value == pytest.approx(1.0)
    np.testing.assert_array_equal(steps_to(result, "learned", 0.02)[:2], [300, 400])
    with pytest.raises(ConfigError, match="Did you mean 'speedup'"):
        result.of("speedups")
    with pytest.raises(ConfigError, match="bad 'of'"):
        measure_metric({**of, "of": "speed"}, [result])


def test_round_trip_with_further_measures(losses, tmp_path):
    further = {"held_out_loss": {"adam": [[np.nan, 1, 2, 3]]}}
    save_results(tmp_path / "r.json", [losses("toy", {"adam": [1.0]}, further=further)])
    (loaded,) = load_results(tmp_path / "r.json")
    assert loaded.measure == "training_loss"
    np.testing.assert_array_equal(
        loaded.further["held_out_loss"]["adam"], further["held_out_loss"]["adam"]
    )
    view = loaded.of("held_out_loss")
    assert view.scores["adam"] == [3.0]
    assert (view.measure, view.further) == ("held_out_loss", {})


def test_files_without_measures_are_of_returns(make_result, tmp_path):
    path = tmp_path / "r.json"
    save_results(path, [make_result("toy/a", {"ppo": [1.0]})])
    content = json.loads(path.read_text())
    for name in ("measure", "further"):
        del content["results"][0][name]
    path.write_text(json.dumps(content))
    (loaded,) = load_results(path)
    assert loaded.measure == "return"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"measure": "los"}, "Unknown measure"),
        ({"further": {"speedup": {}}}, "must have the rules and shapes"),
        ({"further": {"speed": {}}}, "Did you mean 'speedup'"),
    ],
)
def test_bad_measures_are_refused(losses, changes, message):
    with pytest.raises(ConfigError, match=message):
        losses("toy", {"adam": [1.0]}, **changes)


def test_the_verdict_speaks_of_optimizers(losses):
    home = losses("toy/home", {"learned": 0.5 * TASKS, "adam": TASKS, "start": 2 * TASKS})
    away = losses("toy/away", {"learned": 3.0 * TASKS, "adam": TASKS}, held_out=True)
    words = verdict([home, away])
    assert words.headline == (
        "The learned optimizer beats Adam where it was trained and is worse than it on held-out "
        "families of tasks."
    )
    assert "Against Adam on 1 family of tasks that it never saw, it is better on 0" in (
        words.paragraph
    )
    assert "interquartile mean of 9 tasks" in words.paragraph
    found, count = pooled_difference([home, away], "learned", "adam", "adam")
    assert count == 2
    assert found.low < found.value < found.high


def test_the_report_of_an_optimizer(losses):
    further = {"speedup": {"learned": np.ones((9, 4)), "adam": np.full((9, 4), 0.5)}}
    result = losses("toy", {"learned": 0.5 * TASKS, "adam": TASKS}, further=further)
    rows = [
        {"generation": g, "fitness_mean": -1.0 / g, "inner_updates": 100 * g} for g in range(1, 4)
    ]
    page = render_report(
        ReportInputs(
            title="t", experiment="e", results=[result], rows=rows, measure="training_loss",
            cost={"seconds": 3.0, "inner_updates": 300},
        )
    )  # fmt: skip
    assert "mean meta-loss went from 1.00 to 0.333" in page
    assert "Better than Adam by [95%]" in page
    assert "Speed-up" in page
    assert "Single tasks" in page
    assert "environment" not in page.partition("How to reproduce it")[0]
    assert "<td>updates</td><td>300</td>" in page
    by = {row.rule: row for row in summary(result, "adam")}
    assert by["learned"].difference.verdict == "better"


def _texts(figure):
    axes = [t.get_text() for ax in figure.axes for t in (ax.title, ax.xaxis.label, ax.yaxis.label)]
    return [*axes, *(t.get_text() for legend in figure.legends for t in legend.get_texts())]


def test_tasks_are_drawn_against_the_band_of_baselines(losses):
    scores = {"learned": TASKS, "start": TASKS, "adam": 2 * TASKS, "sgd": 3 * TASKS}
    result = losses("toy", scores)
    figure = figures.tasks_figure([result])
    assert sum(ax.axison for ax in figure.axes) == 6
    first = figure.axes[0]
    drawn = {line.get_label(): line.get_ydata() for line in first.lines}
    np.testing.assert_array_equal(drawn["learned"], result.curves["learned"][0])
    np.testing.assert_array_equal(drawn["best of them"], result.curves["adam"][0])
    (band,) = first.collections
    band_y = band.get_paths()[0].vertices[:, 1]
    assert band_y.max() == result.curves["sgd"][0].max()
    assert {"tuned baselines", "learned", "start"} <= set(_texts(figure))


def test_updates_and_validation_are_drawn():
    gradients = np.linspace(-1, 1, 5)
    updates = np.stack([[-s * gradients + h for h in (0, 1)] for s in (1, 10)])
    figure = optimizer_figures.update_figure(
        [optimizer_figures.UpdateCurves("learned", updates)], gradients, (0, 1), (1, 10)
    )
    drawn = [line.get_ydata() for line in figure.axes[1].lines if len(line.get_ydata()) == 5]
    np.testing.assert_array_equal(drawn, updates[1])
    curve = optimizer_figures.ValidationCurve(
        "toy", np.array([1, 2]), np.array([0.5, np.nan]), np.array([1.0, 0.7])
    )
    figure = optimizer_figures.validation_figure([curve])
    assert "Generation" in _texts(figure)
    assert "toy" in _texts(figure)
    assert figures.training_figure([], "training_loss").texts  # says that there is nothing


def test_meta_losses_are_drawn_as_losses():
    rows = [{"generation": g, "fitness_mean": -2.0 / g} for g in (1, 2)]
    figure = figures.training_figure(rows, "training_loss")
    lines = {line.get_label(): line.get_ydata() for line in figure.axes[0].lines}
    np.testing.assert_array_equal(lines["mean"], [2.0, 1.0])
    assert figure.axes[0].get_ylabel() == "Meta-loss"
