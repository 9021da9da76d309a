import numpy as np
import pytest

from metarl.core.errors import ConfigError
from metarl.evaluation.metric import check_metric, measure_metric, measured_seeds, steps_to

ENV = {"env": "toy/a"}
ENVS = {"envs": ["toy/a", "toy/b"]}
ONE = {"envs": ["toy/a"]}


@pytest.fixture
def results(make_result):
    return [
        make_result("toy/a", {"lpo": [12.0] * 4, "ppo": [10.0] * 4}, random_score=2.0),
        make_result("toy/b", {"lpo": [0.5] * 4, "ppo": [1.0] * 8}, random_score=0.0),
    ]


@pytest.mark.parametrize(
    ("metric", "value"),
    [
        ({"kind": "iqm", "rule": "ppo", **ENV}, 10.0),
        ({"kind": "mean", "rule": "ppo", **ENV}, 10.0),
        ({"kind": "iqm_difference", "rule": "lpo", "baseline": "ppo", **ENV}, 2.0),
        ({"kind": "ratio", "rule": "lpo", "baseline": "ppo", **ENV}, 1.2),
        ({"kind": "pooled_ratio", "rule": "lpo", "baseline": "ppo", "envs": ["toy/a"]}, 1.2),
        # 1.25 on one and 0.5 on the other.
        ({"kind": "normalised_iqm", "rule": "lpo", **ENVS}, 0.875),
        ({"kind": "normalised_iqm_difference", "rule": "lpo", "baseline": "ppo", **ENVS}, -0.125),
        ({"kind": "normalised_iqm", "rule": "ppo", "reference": "lpo", "envs": ["toy/b"]}, 2.0),
        # 12 against 10 is better, 10 against itself neither, and pooled with 0.5 against 1 worse.
        ({"kind": "rules_better", "rules": ["lpo", "ppo"], "baseline": "ppo", **ONE}, 1.0),
        ({"kind": "rules_not_worse", "rules": ["lpo", "ppo"], "baseline": "ppo", **ONE}, 2.0),
        ({"kind": "rules_not_worse", "rules": ["lpo", "ppo"], "baseline": "ppo", **ENVS}, 1.0),
        # The curves rise linearly over 100, 200, 300, 400 steps.
        ({"kind": "steps_to", "rule": "ppo", "threshold": 7.0, **ENV}, 300.0),
        ({"kind": "steps_to", "rule": "ppo", "threshold": 10.1, **ENV}, np.inf),
    ],
)
def test_values_by_hand(results, metric, value):
    # Every seed of a rule is alike here, so that the interval has no width.
    found = measure_metric(metric, results)
    # Float64 means of few numbers.
    assert found == pytest.approx((value,) * 3, rel=1e-12)


def test_mean_and_iqm_differ_where_they_should(make_result):
    results = [make_result("toy/a", {"ppo": [0.0, 1.0, 3.0, 100.0]})]
    assert measure_metric({"kind": "mean", "rule": "ppo", **ENV}, results).value == 26.0
    assert measure_metric({"kind": "iqm", "rule": "ppo", **ENV}, results).value == 2.0


def test_steps_of_each_seed(make_result):
    result = make_result("toy/a", {"ppo": [4.0, 8.0, 1.0]})
    np.testing.assert_array_equal(steps_to(result, "ppo", 4.0), [400.0, 200.0, np.inf])


def test_one_seed_of_eight_that_never_arrives_is_trimmed(make_result):
    metric = {"kind": "steps_to", "rule": "ppo", "threshold": 4.0, **ENV}
    found = measure_metric(metric, [make_result("toy/a", {"ppo": [4.0] * 7 + [1.0]})])
    assert found.value == 400.0
    three = measure_metric(metric, [make_result("toy/a", {"ppo": [4.0] * 5 + [1.0] * 3})])
    assert three.value == np.inf


def test_seeds_are_the_fewest(results):
    metric = {"kind": "normalised_iqm_difference", "rule": "lpo", "baseline": "ppo", **ENVS}
    assert measured_seeds(metric, results) == 4
    assert measured_seeds({"kind": "iqm", "rule": "ppo", "env": "toy/b"}, results) == 8


@pytest.mark.parametrize(
    ("metric", "message"),
    [
        ({"rule": "ppo"}, "needs a kind"),
        ({"kind": "iqn", "rule": "ppo", **ENV}, "'iqn'.*Did you mean 'iqm'"),
        ({"kind": "iqm", "rul": "ppo", **ENV}, "'rul'.*Did you mean 'rule'"),
        ({"kind": "iqm", **ENV}, "needs 'rule'"),
        ({"kind": "iqm", "rule": 3, **ENV}, "bad 'rule': 3"),
        ({"kind": "normalised_iqm", "rule": "ppo", "envs": []}, r"bad 'envs': \[\]"),
        ({"kind": "steps_to", "rule": "ppo", "threshold": True, **ENV}, "bad 'threshold'"),
    ],
)
def test_malformed_metrics_are_refused(metric, message):
    with pytest.raises(ConfigError, match=message):
        check_metric(metric)


def test_missing_measurements_are_named(results):
    with pytest.raises(ConfigError, match="No result on 'toy/c'"):
        measure_metric({"kind": "iqm", "rule": "ppo", "env": "toy/c"}, results)
    with pytest.raises(ConfigError, match="no rule 'mdpo'"):
        measure_metric({"kind": "iqm", "rule": "mdpo", **ENV}, results)
