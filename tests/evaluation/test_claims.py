import json
from dataclasses import replace

import pytest

from metarl.core.errors import ConfigError
from metarl.evaluation.claims import (
    Claim,
    find_claim,
    load_claim,
    load_claims,
    measure,
    save_claim,
)
from metarl.evaluation.statistics import Interval

CLAIM = Claim(
    name="ppo-cartpole",
    statement="PPO solves CartPole | really",
    paper="Schulman et al. 2017",
    system="G1",
    config={"command": ["eval", "ppo", "--env", "toy/a"]},
    metric={"kind": "iqm", "rule": "ppo", "env": "toy/a"},
    threshold=475,
    published="500",
)


@pytest.fixture
def results(make_result):
    return [make_result("toy/a", {"ppo": [480.0] * 5}, seconds=12.34)]


def test_measuring(results):
    found = measure(CLAIM, results, hardware="2 CPU", versions={"jax": "0.9.2"}, date="2026-01-02")
    assert (found.value, found.low, found.high, found.status) == (480.0, 480.0, 480.0, "passed")
    assert (found.seeds, found.wall_seconds, found.hardware) == (5, 12.3, "2 CPU")
    assert measure(replace(CLAIM, threshold=481), results).status == "failed"
    assert measure(replace(CLAIM, direction="<="), results).status == "failed"
    never = {"kind": "steps_to", "rule": "ppo", "env": "toy/a", "threshold": 1e9}
    found = measure(replace(CLAIM, metric=never, threshold=400, direction="<="), results)
    assert (found.value, found.status) == (None, "failed")


@pytest.mark.parametrize(
    ("direction", "criterion", "interval", "holds"),
    [
        (">=", "value", Interval(1.0, -1.0, 3.0), True),
        (">=", "interval", Interval(1.0, -1.0, 3.0), False),
        (">=", "interval", Interval(1.0, 0.5, 3.0), True),
        ("<=", "value", Interval(-1.0, -2.0, 1.0), True),
        ("<=", "interval", Interval(-1.0, -2.0, 1.0), False),
        ("<=", "value", Interval(float("inf"), 1.0, float("inf")), False),
    ],
)
def test_holding(direction, criterion, interval, holds):
    claim = replace(CLAIM, threshold=0, direction=direction, criterion=criterion)
    assert claim.holds(interval) is holds


def test_file_round_trip(tmp_path, results):
    claim = CLAIM.with_measurement(measure(CLAIM, results, date="2026-01-02"))
    path = save_claim(tmp_path, claim)
    assert path == tmp_path / "ppo-cartpole.json"
    save_claim(tmp_path, replace(CLAIM, name="a-first"))
    assert [c.name for c in load_claims(tmp_path)] == ["a-first", "ppo-cartpole"]
    assert load_claim(path) == claim
    assert find_claim([claim], "ppo-cartpole") is claim
    with pytest.raises(ConfigError, match="Did you mean 'ppo-cartpole'"):
        find_claim([claim], "ppo-cartpool")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"treshold": 3}, "'treshold'.*Did you mean 'threshold'"),
        ({"name": "other"}, "calls itself 'other'"),
        ({"direction": ">"}, "Unknown direction '>'"),
        ({"criterion": "values"}, "Did you mean 'value'"),
        ({"threshold": "475"}, "threshold is no number: '475'"),
        ({"headline": "yes"}, "headline must be true or false, got 'yes'"),
        ({"config": {"command": "eval ppo"}}, "list of arguments"),
        ({"metric": {"kind": "iqm", "rule": "ppo"}}, "needs 'env'"),
        ({"measured": [{"valeu": 1}]}, "'valeu'.*'value'"),
        ({"measured": [{"value": 1}]}, "missing"),
    ],
)
def test_bad_files_are_named(tmp_path, changes, message):
    path = save_claim(tmp_path, CLAIM)
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
    with pytest.raises(ConfigError, match=message):
        load_claim(path)


def test_unreadable_files_are_named(tmp_path):
    (tmp_path / "x.json").write_text("{")
    with pytest.raises(ConfigError, match=r"x\.json"):
        load_claims(tmp_path)
