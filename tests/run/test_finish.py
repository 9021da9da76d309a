"""After the last generation: the artifact, the comparison, the report."""

import html
import json
from dataclasses import replace

import jax
import numpy as np
import pytest

from metarl.evaluation.results import EnvironmentResult, load_results
from metarl.io.runs import RunDirectory
from metarl.rules import registry
from metarl.run import experiments, finish

from .tiny import BANDIT, CATCH, TINY, build_once, meta_train_in, new_run


def _result(env, scores, random_score=None):
    scores = {rule: np.array(x, float) for rule, x in scores.items()}
    return EnvironmentResult(
        env=env,
        steps=np.array([10.0, 20.0]),
        curves={rule: np.full((x.size, 2), np.nan) for rule, x in scores.items()},
        scores=scores,
        random_score=random_score,
        seconds=61.0,
        diverged={rule: int(np.isnan(x).sum()) for rule, x in scores.items()},
    )


def test_a_result_in_one_line():
    result = _result(CATCH, {"learned": [1.0, 2.0], "ppo": [0.5, 0.5]})
    assert finish.describe_result(result) == f"{CATCH}: learned 1.5, ppo 0.5  (1m01s)"


def test_a_result_without_any_finite_score():
    nan = float("nan")
    line = finish.describe_result(_result(CATCH, {"learned": [nan, nan], "ppo": [nan]}))
    assert line == (
        f"{CATCH}: learned no finite score, ppo no finite score  (1m01s); diverged: 2 of learned, "
        "1 of ppo"
    )
    # A diverged agent counts as the worst known: here the random agent.
    line = finish.describe_result(_result(CATCH, {"learned": [nan, nan]}, random_score=-3.0))
    assert line == f"{CATCH}: learned -3  (1m01s); diverged: 2 of learned"


@pytest.mark.slow
def test_a_rule_without_any_finite_score_is_saved_and_reported(tmp_path):
    run = new_run(tmp_path / "run")
    theta, _ = meta_train_in(run)
    nan = [float("nan")] * 3
    results = [_result(CATCH, {"learned": nan, "start": nan, "ppo": nan})]
    path = finish.save_learned(run, build_once(TINY), theta, results)
    card = registry.load(path).card
    assert card["scores"][CATCH]["interquartile_mean"] == {
        "learned": None,
        "start": None,
        "ppo": None,
    }
    page = finish.report(run, build_once(TINY), theta, results).read_text()
    assert "There is no verdict" in page


def test_the_artifact_is_the_theta_with_a_card(finished):
    run = RunDirectory.open(finished)
    loaded = registry.load(finished / "artifacts" / "lpo-catch.safetensors")
    assert loaded.config == TINY.rule
    card = loaded.card
    assert card["config"] == run.config
    assert card["versions"] == run.versions
    assert card["licence"] == "Apache-2.0"
    results = {result.env: result for result in load_results(finished / "results.json")}
    assert set(card["scores"]) == set(results) == {CATCH, BANDIT}
    for env, scores in card["scores"].items():
        assert scores["held_out"] is (env == BANDIT) is results[env].held_out
        assert scores["seeds"] == TINY.evaluation.seeds
        # Of three scores the middle half is the middle one, and a quarter of each neighbour.
        for rule, mean in scores["interquartile_mean"].items():
            low, middle, high = np.sort(results[env].scores[rule])
            # Scores are float32.
            np.testing.assert_allclose(mean, (0.25 * low + middle + 0.25 * high) / 1.5, rtol=1e-6)
    assert results[BANDIT].steps[-1] == TINY.learner.total_steps
    assert set(results[CATCH].scores) == {"learned", "start", "ppo"}


def test_the_report_stands_alone_and_says_what_it_cost(finished):
    page = html.unescape((finished / "report.html").read_text())
    assert experiments.command_line(experiments.load("lpo"), TINY) in page
    parts = ("compilation and start, time", "evolution, time", "evaluation, time", "all phases")
    places = [page.index(part) for part in parts]
    assert places == sorted(places)
    for name in ("drift", "training", "learning_curves", "scores"):
        assert (finished / "figures" / f"{name}.png").stat().st_size > 1000


@pytest.mark.parametrize(
    ("seconds", "log_every", "expected"),
    [
        ([], 1, {}),
        ([30.0], 1, {"evolution": 30.0}),
        ([30.0, 32.0, 34.0], 1, {"compilation and start": 28.0, "evolution": 6.0}),
        # The fourth generation was the first of a resumed run, which compiled again.
        (
            [30.0, 32.0, 34.0, 54.0, 56.0, 58.0],
            1,
            {"compilation and start": 28.0, "evolution": 30.0},
        ),
        # Two generations a look share its seconds; the last look has but one.
        (
            [30.0, 30.0, 34.0, 34.0, 38.0, 38.0, 40.0],
            2,
            {"compilation and start": 26.0, "evolution": 14.0},
        ),
        ([30.0, 30.0], 2, {"evolution": 30.0}),
    ],
)
def test_seconds_by_phase(seconds, log_every, expected):
    assert finish.phases([{"seconds": x} for x in seconds], log_every) == expected


def test_the_machine_of_a_run_outlives_its_process(tmp_path, monkeypatch):
    run = new_run(tmp_path / "run")
    path, training = run.path / "machine.json", build_once(TINY)
    for used, kept in ((700.0, 700.0), (300.0, 700.0), (900.0, 900.0)):
        monkeypatch.setattr(finish, "peak_memory_mb", lambda used=used: used)
        finish.record_machine(run, training)
        assert json.loads(path.read_text())["peak_memory_mb"] == kept
    # A report made elsewhere, by a process of another size, tells that of the run.
    monkeypatch.setattr(finish, "peak_memory_mb", lambda: 1.0)
    page = finish.report(run, training, training.theta_start(), []).read_text()
    assert "900 MB" in page


def test_chosen_kernels_are_recorded_and_shown(tmp_path):
    run, training = new_run(tmp_path / "run"), build_once(TINY)
    finish.record_machine(run, training)
    assert "lopt_update" not in json.loads((run.path / "machine.json").read_text())
    problem = replace(training.problem, kernels={"lopt_update": "reference"})
    training = replace(training, problem=problem)
    finish.record_machine(run, training)
    assert json.loads((run.path / "machine.json").read_text())["lopt_update"] == "reference"
    page = finish.report(run, training, training.theta_start(), []).read_text()
    assert "lopt update" in page


def test_short_names():
    names = ("gymnax/CartPole-v1", "gymnax/Breakout-MinAtar", "brax/ant")
    assert [finish.short_name(name) for name in names] == ["cartpole", "breakout", "ant"]


def test_rules_that_stand_beside_the_learned_one():
    config = replace(TINY, evaluation=replace(TINY.evaluation, rules=("dpo", "none")))
    training = build_once(config)
    theta = training.theta_start()
    start = jax.tree.map(lambda x: x + 1, theta)
    found = training.problem.comparisons[0].candidates(theta, start)
    assert list(found) == ["learned", "start", "dpo", "none"]
    thetas = {name: entry.theta.thetas[entry.theta.which] for name, entry in found.items()}
    assert thetas["learned"] is theta
    assert thetas["start"] is start
    assert thetas["dpo"] == ()
