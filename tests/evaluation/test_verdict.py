import numpy as np
import pytest

from metarl.evaluation.statistics import Interval
from metarl.evaluation.verdict import (
    describe_difference,
    number,
    pooled_difference,
    verdict,
    with_bounds,
)


def around(value, spread=0.01, seeds=8):
    """Scores with the given mean, symmetric, so that their interquartile mean is `value`."""
    return value + spread * np.linspace(-1, 1, seeds)


def scores(learned, ppo=10.0, start=5.0, dpo=8.0):
    return {k: around(x) for k, x in locals().items()}


@pytest.mark.parametrize(
    ("home", "away", "headline"),
    [
        (12, 12, "The learned rule beats PPO, both where it was trained and on held-out "
                 "environments."),
        (12, 9, "The learned rule beats PPO where it was trained and is worse than it on held-out "
                "environments."),
        (9, 12, "The learned rule is worse than PPO where it was trained and beats it on held-out "
                "environments."),
        (12, 10, "The learned rule beats PPO where it was trained and is level with it on held-out "
                 "environments."),
        (10, 10, "The learned rule is level with PPO, both where it was trained and on held-out "
                 "environments."),
        (4, 9, "The learned rule is worse than PPO, both where it was trained and on held-out "
               "environments. It does not beat its own start."),
    ],
)  # fmt: skip
def test_headline_follows_the_numbers(make_result, home, away, headline):
    results = [
        make_result("toy/home", scores(home)),
        make_result("toy/away", scores(away), held_out=True),
    ]
    assert verdict(results).headline == headline


def test_an_interval_that_includes_zero_is_no_victory(make_result):
    # A difference of 1 between seeds that spread over 10 each.
    noisy = {"learned": around(11.0, spread=5.0), "ppo": around(10.0, spread=5.0)}
    words = verdict([make_result("toy/home", noisy)])
    assert words.headline == "The learned rule is level with PPO where it was trained."
    assert "does not beat PPO: the difference" in words.paragraph
    assert "includes zero" in words.paragraph
    assert "not evaluated on any environment that it had never seen" in words.paragraph


def test_unseen_environments_are_counted(make_result):
    results = [
        make_result(f"toy/{i}", scores(x), held_out=True) for i, x in enumerate([12, 10, 8, 7])
    ]
    text = verdict(results).paragraph
    assert "better on 1, not clearly different on 1, worse on 2" in text
    assert "beats its own start" in text


def test_lost_seeds_are_reported(make_result):
    table = scores(12)
    table["learned"][0] = np.nan
    assert "1 of its seeds diverged" in verdict([make_result("toy/a", table)]).paragraph


@pytest.mark.parametrize("scores", [{"ppo": [1.0]}, {"learned": [np.nan]}])
def test_no_verdict_without_numbers(make_result, scores):
    assert verdict([]).headline == "There is no verdict."
    results = [make_result("toy/a", scores, random_score=None)]
    assert verdict(results).headline == "There is no verdict."


def test_no_reference_no_comparison(make_result):
    words = verdict([make_result("toy/a", {"learned": around(1.0)}, held_out=True)])
    assert words.headline == "The learned rule was not compared with PPO."


def test_pooling_rescales_each_environment(make_result):
    # Differences of half and of a whole of PPO's distance from random, on unlike scales.
    a = make_result("toy/a", {"learned": [150.0] * 4, "ppo": [100.0] * 4})
    b = make_result("toy/b", {"learned": [0.2] * 4, "ppo": [0.1] * 4})
    useless = make_result("toy/c", {"learned": [1.0] * 4, "ppo": [0.0] * 4}, random_score=1.0)
    found, count = pooled_difference([a, b, useless], "learned", "ppo", "ppo")
    assert count == 2
    assert found.value == pytest.approx(0.75)
    assert pooled_difference([useless], "learned", "ppo", "ppo") is None


def test_differences_in_words():
    assert describe_difference(Interval(2, 1, 3), "PPO") == "beats PPO by +2.00 [+1.00, +3.00]"
    assert "it is worse, \N{MINUS SIGN}2.00" in describe_difference(Interval(-2, -3, -1), "PPO")
    assert "includes zero" in describe_difference(Interval(0, -1, 1), "PPO")


@pytest.mark.parametrize(
    ("x", "text"),
    [(495.4, "495"), (24.94, "24.9"), (1.0, "1.00"), (-0.5124, "\N{MINUS SIGN}0.512"),
     (0.0, "0.000"), (-0.0001, "0.000"), (12345.6, "12,346")],
)  # fmt: skip
def test_numbers(x, text):
    assert number(x) == text


def test_an_interval_has_one_precision():
    assert with_bounds(Interval(0.2, -24.91, 24.7), signed=True) == (
        "+0.2 [\N{MINUS SIGN}24.9, +24.7]"
    )
