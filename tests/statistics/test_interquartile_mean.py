"""The interquartile mean against exact sums by hand."""

from fractions import Fraction

import numpy as np
import pytest
from scipy import integrate, stats

from metarl.evaluation.statistics import interquartile_mean

# Float64 sums of fewer than 100 values of size about 100.
EXACT = 1e-12


def by_definition(values):
    """Integrates the quantile step function over [1/4, 3/4] in exact rational arithmetic."""
    values = sorted(map(Fraction, values))
    n, total = len(values), Fraction(0)
    for i, value in enumerate(values):
        low, high = Fraction(i, n), Fraction(i + 1, n)
        total += value * max(Fraction(0), min(high, Fraction(3, 4)) - max(low, Fraction(1, 4)))
    return float(2 * total)


@pytest.mark.parametrize("n", range(1, 18))
def test_one_to_n(n):
    # 1..n is symmetric, so that trimming both ends alike leaves its centre.
    assert interquartile_mean(np.arange(1, n + 1)) == pytest.approx((n + 1) / 2, rel=EXACT)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([1, 2, 4, 8], 3.0),  # drops 1 and 8
        ([1, 2, 4, 8, 100], (0.75 * 2 + 4 + 0.75 * 8) / 2.5),
        ([0, 1, 10], (0.25 * 0 + 1 + 0.25 * 10) / 1.5),
        ([3, 5], 4.0),
        ([7], 7.0),
        ([1e9, 0, 0, 0], 0.0),  # an outlier has no weight at all
    ],
)
def test_by_hand(values, expected):
    assert interquartile_mean(values) == pytest.approx(expected, rel=EXACT)


@pytest.mark.parametrize("n", [3, 5, 6, 7, 10, 13])
def test_definition_for_any_size(n):
    values = np.random.default_rng(n).integers(-50, 50, n).tolist()
    assert interquartile_mean(values) == pytest.approx(by_definition(values), rel=EXACT, abs=EXACT)


def test_is_the_trimmed_mean_where_four_divides_n():
    values = np.random.default_rng(0).lognormal(size=(3, 16))
    expected = stats.trim_mean(values, 0.25, axis=1)
    np.testing.assert_allclose(interquartile_mean(values, axis=1), expected, rtol=EXACT)


def test_axis_and_flattening():
    values = np.random.default_rng(1).normal(size=(4, 5, 6))
    expected = np.array([[interquartile_mean(values[i, :, k]) for k in range(6)] for i in range(4)])
    np.testing.assert_allclose(interquartile_mean(values, axis=1), expected, rtol=EXACT)
    assert interquartile_mean(values) == interquartile_mean(values.ravel())


def test_converges_to_the_mean_between_the_quartiles():
    low, high = stats.expon.ppf([0.25, 0.75])
    expected = 2 * integrate.quad(lambda x: x * stats.expon.pdf(x), low, high)[0]
    n = 200_000
    found = interquartile_mean(np.random.default_rng(2).exponential(size=n))
    # The estimator's deviation is below that of the mean, 1 / sqrt(n).
    assert abs(found - expected) < 4 / np.sqrt(n)
