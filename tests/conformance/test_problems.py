"""Every registered problem meets the contract; a package outside of the library is found and runs.

`tests/stranger` holds such a package with its installation record, so that a child process with it
on the path has it installed. That each problem of the library runs, resumes and reports, its own
tests show (`tests/run`, `tests/problems`).
"""

import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import pytest

from metarl.evaluation import style
from metarl.evaluation.results import load_results
from metarl.problems import registry
from metarl.problems.config import LoopConfig, OuterConfig
from metarl.run import experiments

STRANGER = Path(__file__).parents[1] / "stranger"
PRESETS = [
    (name, preset) for name in experiments.names() for preset in experiments.load(name).presets
]


@pytest.mark.parametrize(("name", "preset"), PRESETS)
def test_every_preset_is_the_config_of_a_registered_problem(name, preset):
    config = experiments.load(name).presets[preset]
    assert registry.kind_of(config).config is type(config)
    assert type(config).__dataclass_params__.frozen
    assert isinstance(config.outer, OuterConfig)
    assert isinstance(config.loop, LoopConfig)
    assert config.trained_on
    assert 0 < config.num_parallel <= config.lifetimes
    assert config.steps_per_generation >= config.lifetimes * config.updates
    assert config.stretched(2.0).updates >= config.updates
    again = experiments.from_json(experiments.to_json(config), type(config))
    assert again == config
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.seed = 1


def test_every_problem_says_what_it_is():
    kinds = registry.kinds()
    assert {"drift", "optimizer", "update_rule"} <= set(kinds)
    for name, kind in kinds.items():
        assert kind.name == name
        assert kind.baselines
        for lines in kind.listing().values():
            assert lines


def test_a_handcrafted_algorithm_is_a_baseline_without_further_registration():
    """It would be drawn as learned otherwise, and left out of the verdict."""
    for kind in registry.kinds().values():
        if kind.agents is not None:
            assert not any(map(style.is_learned, kind.agents.handcrafted))
    drift = registry.kinds()["drift"]
    mine = dataclasses.replace(
        drift, agents=dataclasses.replace(drift.agents, handcrafted={"ppo": None, "mine": None})
    )
    assert mine.labels == {**drift.baselines, "mine": "mine"}
    assert next(iter(mine.labels)) == "ppo"  # the reference stays the first


def stranger(*words, status=0):
    """Runs `metarl` where the other package is installed."""
    path = os.pathsep.join([str(STRANGER), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-m", "metarl.run.cli", *map(str, words)],
        capture_output=True, text=True, env={**os.environ, "PYTHONPATH": path},
    )  # fmt: skip
    assert done.returncode == status, done.stderr
    return done.stdout + done.stderr


def test_a_problem_of_another_package_runs_and_finds_its_known_answer(tmp_path):
    """After 40 outer steps the learned start is nearer to the minima than the origin is."""
    shown = stranger("run", "toy-initialization", "--out", tmp_path / "run")
    assert "report:" in shown
    (result,) = load_results(tmp_path / "run" / "results.json")
    mean = {name: scores.mean() for name, scores in result.scores.items()}
    assert mean["learned"] < mean["origin"] < mean["start"]
    assert "beats the origin" in (tmp_path / "run" / "report.html").read_text()


@pytest.mark.slow
def test_every_command_knows_the_problem_of_another_package(tmp_path):
    run = tmp_path / "run"
    assert "toy-initialization meta-learn an initialization" in stranger("list")
    assert "theta 2 numbers" in stranger("cost", "toy-initialization")
    assert stranger("toy") == "toy-initialization is installed\n"
    shorter = ("--outer.generations", 2, "--out", run)
    stranger("run", "toy_initialization.experiment:EXPERIMENT", *shorter)
    assert "after generation 2" in stranger("report", run)
    assert "resuming after generation 2" in stranger("resume", run)
    missing = stranger("run", "toy_initialization.experiment:NOTHING", status=1)
    assert "cannot be imported" in missing
    wrong = stranger("run", "toy_initialization.experiment:ToyConfig", status=1)
    assert "is no metarl.run.experiments.Experiment" in wrong
    assert "Did you mean 'toy-initialization'?" in stranger("run", "toy-init", status=1)
