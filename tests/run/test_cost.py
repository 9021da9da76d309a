"""`metarl cost`: what an outer step needs, against what the methods are known to need."""

import shlex
from dataclasses import replace

import jax
import numpy as np
import pytest

from metarl.evaluation.results import load_results
from metarl.run import cli, experiments
from metarl.run.cost import cost
from tests.problems.optimizer.tiny import TINY as OPTIMIZER
from tests.problems.update_rule.tiny import UNIFORM as UPDATE_RULE

from .tiny import TINY as DRIFT
from .tiny import build_once

LIFETIME = (8, 8)


def memory(tmp_path, **changes):
    """Temporary bytes of the tiny run with trainings as long, and 16 times as long."""
    config = replace(OPTIMIZER, tasks=replace(OPTIMIZER.tasks, lifetime=LIFETIME), **changes)
    line = experiments.command_line(experiments.load("learned-optimizer"), config)
    path = tmp_path / "cost.json"
    words = ["cost", *shlex.split(line)[2:], "--horizons", "1", "16", "--json", str(path)]
    assert cli.main(words) == 0
    (result,) = load_results(path)
    assert result.env == "learned-optimizer"
    assert result.rules == ("1x", "16x")
    return [float(result.scores[name][0]) for name in result.rules]


@pytest.mark.slow
def test_persistent_evolution_strategies_need_no_more_for_longer_lives(tmp_path, capsys):
    short, long = memory(tmp_path)
    assert 0 < long == short
    assert "theta 1 numbers" in capsys.readouterr().out


@pytest.mark.slow
def test_backpropagation_through_whole_lives_keeps_every_update(tmp_path):
    whole = replace(OPTIMIZER.meta_loss, truncation=LIFETIME[1])
    short, long = memory(tmp_path, method="backprop", meta_loss=whole)
    assert long > 4 * short


def test_the_state_is_what_lives_on():
    training = build_once(OPTIMIZER)
    found = cost(training)
    state = training.init(training.key)
    theta = jax.tree.leaves(training.theta_start())
    assert found.theta == sum(np.size(x) for x in theta)
    assert found.state_bytes == sum(x.nbytes for x in jax.tree.leaves(state))
    assert found.compile_seconds > 0


@pytest.mark.parametrize("config", [DRIFT, UPDATE_RULE, OPTIMIZER])
def test_a_run_with_lives_twice_as_long(config):
    """Its outer steps cover twice the updates, unless they cover parts of lives."""
    longer = config.stretched(2.0)
    whole = config is DRIFT
    assert longer.updates == (2 if whole else 1) * config.updates
    assert longer.stretched(0.5) == config


def test_parts_that_are_whole_lives_stay_so():
    whole = replace(OPTIMIZER, meta_loss=replace(OPTIMIZER.meta_loss, truncation=8))
    assert whole.stretched(4.0).meta_loss.truncation == 32
    lives = replace(UPDATE_RULE, backprop=replace(UPDATE_RULE.backprop, truncation=5))
    assert lives.stretched(2.0).backprop.truncation == 10


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["lop"], "Did you mean 'lpo'?"),
        (["lpo", "--horizons", "0"], "horizons must be positive and finite, got 0"),
        (["lpo", "--json", "nowhere/cost.json"], "there is no folder nowhere"),
        (["lpo", "--preset", "quik"], "Did you mean 'quick'?"),
    ],
)
def test_refused(words, message, capsys):
    assert cli.main(["cost", *words]) == 1
    assert message in capsys.readouterr().err
