"""Bootstrap intervals against sampling theory."""

import numpy as np
import pytest
from scipy import stats

from metarl.core.errors import ConfigError
from metarl.evaluation.statistics import (
    Interval,
    curve_interval,
    difference_interval,
    interquartile_mean,
    interval,
    stratified_bootstrap,
)

Z = stats.norm.ppf(0.975)


def four_sigma(probability, trials):
    return 4 * np.sqrt(probability * (1 - probability) / trials)


def test_coverage_of_the_mean_is_what_theory_says():
    # A percentile interval of the mean of n normals is the z interval with the biased deviation,
    # which covers with this probability of Student's t (slightly below the nominal 95%).
    n, trials = 16, 600
    expected = 1 - 2 * stats.t.sf(Z * np.sqrt((n - 1) / n), n - 1)
    rng = np.random.default_rng(0)
    found = [
        stratified_bootstrap({"": rng.normal(size=n)}, np.mean, repetitions=400, seed=i)
        for i in range(trials)
    ]
    covered = np.mean([x.low <= 0 <= x.high for x in found])
    assert abs(covered - expected) < four_sigma(expected, trials)


def test_coverage_of_the_interquartile_mean_is_nominal_for_many_seeds():
    n, trials = 80, 500
    rng = np.random.default_rng(1)
    found = [interval(rng.normal(size=n), repetitions=400, seed=i) for i in range(trials)]
    covered = np.mean([x.low <= 0 <= x.high for x in found])
    assert abs(covered - 0.95) < four_sigma(0.95, trials)


def test_width_follows_the_confidence():
    # For the mean the bootstrap deviation is std / sqrt(n), so widths are its normal quantiles.
    x = np.random.default_rng(2).normal(size=200)
    for confidence in (0.5, 0.9):
        found = stratified_bootstrap({"": x}, np.mean, confidence=confidence, repetitions=20_000)
        expected = 2 * stats.norm.ppf(0.5 + confidence / 2) * x.std() / np.sqrt(x.size)
        # Quantiles of 20000 samples are known to about 1-2%; four of those.
        assert found.high - found.low == pytest.approx(expected, rel=0.05)


def test_seeds_stay_in_their_task():
    # Constant tasks: resampling within a task changes nothing, mixing tasks would.
    scores = {"a": np.full(4, 1.0), "b": np.full(4, 5.0), "c": np.full(8, 100.0)}
    expected = np.mean([1] * 4 + [5] * 4 + [100] * 8)
    assert stratified_bootstrap(scores, np.mean) == Interval(expected, expected, expected)


def test_every_sample_holds_as_many_seeds_of_each_task():
    # Task i has scores around 1000 i; a sample's count of each band is the task's number of seeds.
    sizes = {"a": 3, "b": 5}
    scores = {t: 1000.0 * i + np.arange(s) for i, (t, s) in enumerate(sizes.items())}
    seen = []

    def record(x, axis):
        seen.append(np.atleast_2d(x))
        return np.mean(x, axis=axis)

    stratified_bootstrap(scores, record, repetitions=50)
    samples = max(seen, key=len)
    assert samples.shape == (50, 8)
    assert (np.sum(samples < 500, axis=1) == 3).all()
    assert np.unique(samples).size == 8  # and every seed is drawn at some time


def test_value_is_the_statistic_of_the_pooled_scores():
    scores = np.random.default_rng(3).normal(size=(3, 8))
    assert stratified_bootstrap(scores).value == interquartile_mean(scores)


def test_same_seed_same_interval():
    x = np.random.default_rng(4).normal(size=10)
    assert interval(x, seed=1) == interval(x, seed=1)
    assert interval(x, seed=1) != interval(x, seed=2)


def test_difference_of_means_has_the_width_of_theory():
    rng = np.random.default_rng(5)
    a, b = rng.normal(3, 1, 100), rng.normal(0, 2, 100)
    found = difference_interval(a, b, np.mean, repetitions=20_000)
    deviation = np.sqrt(a.var() / a.size + b.var() / b.size)
    # Float64 means; the width is known as above.
    assert found.value == pytest.approx(a.mean() - b.mean(), rel=1e-12)
    assert found.high - found.low == pytest.approx(2 * Z * deviation, rel=0.05)


def test_difference_pairs_tasks_by_name():
    a = {"x": [1.0, 1.0], "y": [10.0, 10.0]}
    b = {"y": [9.0, 9.0], "x": [1.0, 1.0]}
    assert difference_interval(a, b, np.mean) == Interval(0.5, 0.5, 0.5)
    with pytest.raises(ConfigError, match="Different tasks"):
        difference_interval(a, {"x": [1.0], "z": [1.0]})


def test_verdicts():
    assert Interval(1, 0.1, 2).verdict == "better"
    assert Interval(-1, -2, -0.1).verdict == "worse"
    assert Interval(1, -0.1, 2).verdict == "undecided"
    assert Interval(1, 0.0, 2).verdict == "undecided"


def test_curves_point_by_point():
    curves = np.random.default_rng(8).normal(size=(8, 3))
    curves[2:, 1] = np.nan
    curves[:, 2] = np.nan
    value, low, high = curve_interval(curves)
    # Float64 means of eight numbers.
    assert value[0] == pytest.approx(float(interquartile_mean(curves[:, 0])), rel=1e-12)
    assert value[1] == pytest.approx(curves[:2, 1].mean(), rel=1e-12)
    assert low[0] < value[0] < high[0]
    assert np.isnan([value[2], low[2], high[2]]).all()


@pytest.mark.parametrize(
    ("scores", "message"),
    [
        ({"CartPole": [1.0, np.nan]}, "'CartPole': 1 of 2 scores are not finite"),
        ([1.0, np.inf], "not finite"),
        ({}, "at least one seed"),
        ({"a": []}, "at least one seed"),
    ],
)
def test_bad_scores_are_refused(scores, message):
    with pytest.raises(ConfigError, match=message):
        stratified_bootstrap(scores)


def test_bad_options_are_refused():
    with pytest.raises(ConfigError, match=r"confidence must lie in \(0, 1\), got 95"):
        interval([1.0, 2.0], confidence=95)
    with pytest.raises(ConfigError, match="repetitions"):
        interval([1.0, 2.0], repetitions=0)
