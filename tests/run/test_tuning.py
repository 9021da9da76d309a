"""Equal tuning, on scores that are a known function of the settings."""

from types import SimpleNamespace

import jax
import numpy as np
import pytest

from metarl import envs
from metarl.core.errors import ConfigError
from metarl.core.mesh import Layout
from metarl.evaluation.results import EnvironmentResult
from metarl.problems.agents import by_name
from metarl.problems.algorithms import default_settings
from metarl.run import cli, commands, parser, tuning
from metarl.run.tuning import tuned, with_rate

from .tiny import CATCH

RATES = (1e-4, 1e-3, 1e-2, 1e-1)
NAMES = ("ppo", "a2c", "dpo")


@pytest.fixture(scope="module")
def catch():
    return envs.make(CATCH)


def _result(env, scores):
    curves = {name: row[:, None] for name, row in scores.items()}
    return EnvironmentResult(env.name, np.array([512.0]), curves, scores, seconds=1.0)


@pytest.fixture
def measure(monkeypatch):
    """Installs `{name: {rate: scores}}` in place of training; collects how it was asked."""

    def install(table, module=tuning):
        asked = []

        def evaluate(env, candidates, seeds, key, held_out=False, layout=None):
            asked.append(SimpleNamespace(key=key, seeds=seeds, layout=layout, agents=candidates))
            return _result(
                env,
                {
                    name: np.asarray(table[name][agent.settings["learning_rate"]], float)
                    for name, agent in candidates.items()
                },
            )

        monkeypatch.setattr(module, "evaluate", evaluate)
        return asked

    return install


def _tune(env, rates=RATES, seeds=2):
    algorithms = {name: by_name(name) for name in NAMES}
    key = jax.random.key(3)
    return tuned(env, algorithms, default_settings(env), rates, seeds, key, Layout())


def _chosen(found):
    return {
        name: (each.learner if name != "a2c" else each.baseline).learning_rate
        for name, each in found.items()
    }


def test_each_gets_the_rate_of_its_highest_mean(catch, measure):
    table = {
        "ppo": dict(zip(RATES, [(0, 0), (1, 1), (3, 2), (2, 2)], strict=True)),
        # The highest score of all belongs to the second rate, the highest mean to the first.
        "a2c": dict(zip(RATES, [(-1, -1), (5, -9), (-2, -2), (-3, -3)], strict=True)),
        "dpo": dict(zip(RATES, [(0, 0), (0, 0), (0, 0), (0, 0.1)], strict=True)),
    }
    asked = measure(table)
    found = _tune(catch)
    assert _chosen(found) == {"ppo": 1e-2, "a2c": 1e-4, "dpo": 1e-1}
    # All on the same seeds.
    assert len(asked) == len(RATES)
    assert {entry.seeds for entry in asked} == {2}
    keys = [np.asarray(jax.random.key_data(entry.key)).tolist() for entry in asked]
    assert keys == [keys[0]] * len(RATES)


def test_nothing_but_the_rate_changes(catch, measure):
    measure({name: {1e-2: (1.0,)} for name in NAMES})
    settings = default_settings(catch)
    for each in _tune(catch, rates=(1e-2,), seeds=1).values():
        assert each == with_rate(settings, 1e-2) != settings
        assert each.learner.learning_rate == each.agent.learning_rate == 1e-2
        assert each.baseline.learning_rate == 1e-2
        assert with_rate(each, settings.learner.learning_rate).learner == settings.learner
        assert with_rate(each, settings.agent.learning_rate).agent == settings.agent


@pytest.mark.parametrize("lost", [np.nan, np.inf])
def test_an_agent_that_diverged_disqualifies_its_rate(catch, measure, lost):
    best = {1e-4: (0, 0), 1e-3: (1, 1), 1e-2: (9, lost), 1e-1: (lost, lost)}
    measure({"ppo": best, "a2c": dict.fromkeys(RATES, (lost, 1)), "dpo": best})
    # Where every rate is disqualified, the first is as good as any.
    assert _chosen(_tune(catch)) == {"ppo": 1e-3, "a2c": 1e-4, "dpo": 1e-3}


@pytest.mark.parametrize(
    ("rates", "seeds", "message"),
    [
        ((1e-3, 0.0), 2, r"tune\[1\] must be positive"),
        ((-1e-3,), 2, r"tune\[0\] must be positive"),
        ((1e-3, float("nan")), 2, r"tune\[1\] must be positive and finite"),
        ((1e-3,), 0, "tune_seeds must be positive"),
        ((), 2, "no learning rate"),
    ],
)
def test_refused_before_anything_is_trained(catch, measure, rates, seeds, message):
    asked = measure({})
    with pytest.raises(ConfigError, match=message):
        _tune(catch, rates, seeds)
    assert asked == []


def test_the_command_line_reads_rates():
    words = ["eval", "ppo", "--tune", "1e-3", "1e-2", "--tune-seeds", "3", "--env", CATCH]
    options, overrides = parser.parse(words)
    assert (options.rules, options.tune, options.tune_seeds) == (["ppo"], [1e-3, 1e-2], 3)
    assert overrides == []
    assert parser.parse(["eval", "ppo", "--env", CATCH])[0].tune is None
    with pytest.raises(SystemExit):
        parser.parse(["eval", "ppo", "--env", CATCH, "--tune", "fast"])


def test_agents_are_compared_at_their_own_rates_on_other_seeds(measure, capsys):
    rates = (1e-3, 1e-2)
    table = {
        "ppo": dict(zip(rates, [(0.0,), (1.0,)], strict=True)),
        "a2c": dict(zip(rates, [(1.0,), (0.0,)], strict=True)),
    }
    tried, compared = measure(table), measure(table, commands)
    words = ["eval", "ppo", "a2c", "--env", CATCH, "--tune", "1e-3", "1e-2", "--tune-seeds", "3"]
    assert cli.main([*words, "--seeds", "5"]) == 0
    (last,) = compared
    rate = {name: agent.settings["learning_rate"] for name, agent in last.agents.items()}
    assert rate == {"ppo": 1e-2, "a2c": 1e-3}
    assert last.seeds == 5
    assert [entry.seeds for entry in tried] == [3, 3]
    assert np.any(jax.random.key_data(tried[0].key) != jax.random.key_data(last.key))
    assert capsys.readouterr().out == f"{CATCH}: ppo 1, a2c 1  (1s)\n"
