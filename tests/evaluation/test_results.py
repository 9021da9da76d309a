import json

import numpy as np
import pytest

from metarl.core.errors import ArtifactError, ConfigError
from metarl.evaluation.results import EnvironmentResult, find_result, load_results, save_results
from metarl.evaluation.statistics import normalise, normalised_scores, summary


def test_file_round_trip_is_strict_json(tmp_path, make_result):
    nan = float("nan")
    result = make_result(
        "toy/a",
        {"ppo": [1.0, nan, 1 / 3]},
        held_out=True,
        settings={"lr": 4e-3, "hidden": (64, 64), "clip": np.float32(0.5)},
        seconds=2.5,
        diverged={"ppo": 1},
    )
    path = tmp_path / "results.json"
    save_results(path, [result])
    text = path.read_text()
    json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    (loaded,) = load_results(path)
    np.testing.assert_array_equal(loaded.scores["ppo"], [1.0, nan, 1 / 3])
    np.testing.assert_array_equal(loaded.curves["ppo"], result.curves["ppo"])
    np.testing.assert_array_equal(loaded.steps, result.steps)
    assert (loaded.env, loaded.held_out, loaded.seconds) == ("toy/a", True, 2.5)
    assert loaded.settings == {"lr": 4e-3, "hidden": [64, 64], "clip": 0.5}
    assert loaded.diverged == {"ppo": 1}
    assert loaded.random_score == 0.0


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "Cannot read"),
        ("[]", "not a results file"),
        ('{"format": "other"}', "not a results file"),
        ('{"format": "metarl-results/1", "results": [{"enw": "x"}]}', "'enw'.*'env'"),
        ('{"format": "metarl-results/1", "results": [{"env": "x"}]}', "lacks steps"),
    ],
)
def test_bad_files_are_named(tmp_path, content, message):
    path = tmp_path / "results.json"
    path.write_text(content)
    with pytest.raises(ArtifactError, match=message):
        load_results(path)
    with pytest.raises(ArtifactError, match="Cannot read"):
        load_results(tmp_path / "absent.json")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"steps": [2.0, 1.0]}, "increasing"),
        ({"curves": {"dpo": np.zeros((2, 2))}}, "curves of .*dpo.* but scores of .*ppo"),
        ({"curves": {"ppo": np.zeros((3, 2))}}, r"\(2, 2\), got \(3, 2\)"),
        ({"scores": {"ppo": np.zeros((2, 1))}}, r"must be \[S\]"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(changes, message):
    fields = {
        "env": "toy/a",
        "steps": [1.0, 2.0],
        "curves": {"ppo": np.zeros((2, 2))},
        "scores": {"ppo": np.zeros(2)},
    }
    with pytest.raises(ConfigError, match=message):
        EnvironmentResult(**{**fields, **changes})


def test_lost_seeds_count_as_the_worst_of_the_environment(make_result):
    scores = {"ppo": [5.0, np.nan, np.inf], "dpo": [3.0, 4.0]}
    with_random = make_result("toy/a", scores, random_score=-1.0)
    without = make_result("toy/a", scores, random_score=None)
    np.testing.assert_array_equal(with_random.finite_scores("ppo"), [5.0, -1.0, -1.0])
    np.testing.assert_array_equal(without.finite_scores("ppo"), [5.0, 3.0, 3.0])
    assert with_random.unscored("ppo") == 2
    lost = make_result("toy/a", {"ppo": [np.nan]}, random_score=np.nan)
    assert lost.random_score is None
    with pytest.raises(ConfigError, match="no rule has a finite score"):
        lost.finite_scores("ppo")


def test_gaps_in_curves_hold_the_last_return(make_result):
    nan = np.nan
    curves = {"ppo": [[nan, 1.0, nan, 2.0], [nan, nan, nan, nan], [4.0, 3.0, nan, nan]]}
    result = make_result("toy/a", {"ppo": [2.0, 9.0, nan]}, curves=curves, random_score=-7.0)
    expected = [[nan, 1.0, 1.0, 2.0], [nan] * 4, [4.0, 3.0, -7.0, -7.0]]
    np.testing.assert_array_equal(result.filled_curves("ppo"), expected)


def test_unknown_names_get_the_nearest(make_result):
    result = make_result("toy/alpha", {"ppo": [1.0]})
    with pytest.raises(ConfigError, match=r"'pp0'.*Did you mean 'ppo'"):
        result.finite_scores("pp0")
    assert find_result([result], "toy/alpha") is result
    with pytest.raises(ConfigError, match="Did you mean 'toy/alpha'"):
        find_result([result], "toy/alhpa")


def test_normalisation(make_result):
    np.testing.assert_array_equal(normalise([10.0, 30.0, 0.0], 10.0, 30.0), [0.0, 1.0, -0.5])
    with pytest.raises(ConfigError, match="above random"):
        normalise([1.0], 2.0, 2.0)
    result = make_result("toy/a", {"ppo": [4.0, 6.0], "dpo": [10.0, 0.0]}, random_score=1.0)
    # Two float64 operations, at most half an ulp (1e-16) each.
    np.testing.assert_allclose(normalised_scores(result, "dpo"), [9 / 4, -1 / 4], rtol=1e-15)
    with pytest.raises(ConfigError, match="no random score"):
        normalised_scores(make_result("toy/a", {"ppo": [4.0]}, random_score=None), "ppo")


def test_summary_compares_with_the_baseline(make_result):
    result = make_result("toy/a", {"ppo": [1.0] * 4, "dpo": [3.0] * 3 + [np.nan]})
    ppo, dpo = summary(result)
    assert (ppo.rule, ppo.score, ppo.difference, ppo.unscored) == ("ppo", (1.0,) * 3, None, 0)
    # Sorted 0, 3, 3, 3: the middle half is 3; its lowest bootstrap samples are not.
    assert dpo.score.value == 3.0
    assert dpo.difference.value == 2.0
    assert (dpo.seeds, dpo.unscored) == (4, 1)
    (lost,) = summary(make_result("toy/a", {"ppo": [np.nan]}, random_score=None))
    assert lost.score is None
