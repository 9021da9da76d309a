"""Settings of runs that meta-train an update rule: what is refused, and what is built of them."""

from dataclasses import replace

import jax
import pytest

from metarl.core.errors import ArtifactError, ConfigError
from metarl.networks.heads import HeadsConfig
from metarl.problems.update_rule.config import (
    CurriculumConfig,
    LevelsConfig,
    MetaGradientConfig,
)
from metarl.run import cli
from metarl.run.build import build
from metarl.tasks.curricula.level_replay import LevelReplayConfig
from tests.problems.update_rule.tiny import GRID, REPLAY, UNIFORM
from tests.run.tiny import (
    BANDIT,
    CATCH,
)


def changed(config=UNIFORM, **sections):
    """The config with fields of its sections replaced."""
    return replace(
        config,
        **{name: replace(getattr(config, name), **entry) for name, entry in sections.items()},
    )


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: LevelsConfig(lifetime=(0, 5)), "lifetime must be positive"),
        (lambda: LevelsConfig(lifetime=(5, 3)), "ends at 3, before it begins at 5"),
        (lambda: LevelsConfig(window=0.0), "window must lie in"),
        (lambda: CurriculumConfig(score="regrets"), r"'regrets'.*Did you mean 'regret'"),
        (lambda: CurriculumConfig(kind="reply"), r"'reply'.*Did you mean 'replay'"),
        (lambda: CurriculumConfig(score_steps=0), "score_steps must be positive"),
        (lambda: MetaGradientConfig(truncation=0), "truncation must be positive"),
        (lambda: replace(UNIFORM, method="backporp"), r"Did you mean 'backprop'"),
        (lambda: replace(REPLAY, method="es"), "'replay' needs method='backprop'"),
        (lambda: replace(UNIFORM, seed=-1), "seed must lie in"),
    ],
)
def test_settings_that_are_refused(make, message):
    with pytest.raises(ConfigError, match=message):
        make()


OPTIMAL = {"kind": "replay", "score": "optimal_regret"}
SMALL_BUFFER = {"kind": "replay", "replay": LevelReplayConfig(capacity=1, minimum_fill=0.0)}


@pytest.mark.parametrize(
    ("sections", "error", "message"),
    [
        ({"levels": {"env": "grid/debgu"}}, ConfigError, "Did you mean 'grid/debug'"),
        ({"levels": {"env": "gymnax/Pendulum-v1"}}, ConfigError, "lpg needs discrete actions"),
        ({"evaluation": {"envs": ("Catchx-bsuite",)}}, ConfigError, f"Did you mean '{CATCH}'"),
        (
            {"evaluation": {"envs": ("gymnax/Pendulum-v1",)}},
            ConfigError,
            "lpg needs discrete actions; those of gymnax/Pendulum-v1",
        ),
        ({"evaluation": {"rules": ("poo",)}}, ConfigError, r"Unknown rule 'poo'.*mean 'ppo'"),
        ({"evaluation": {"rules": ("no.safetensors",)}}, ArtifactError, "There is no artifact"),
        (
            {"levels": {"env": CATCH}, "curriculum": OPTIMAL},
            ConfigError,
            f"needs an oracle of optimal returns, and {CATCH} has none. Permitted there: regret",
        ),
        (
            {"levels": {"env": "grid/rand_tiny"}, "curriculum": OPTIMAL},
            ConfigError,
            "needs an oracle of optimal returns, and grid/rand_tiny has none",
        ),
        ({"curriculum": SMALL_BUFFER}, ConfigError, "capacity must be at least 2 for 2 unrolls"),
        ({"outer": {"optimizer": "SNES"}}, ConfigError, r"on a gradient.*'SNES'.*adam"),
        ({"loop": {"devices": 3}}, ConfigError, "loop.devices=3, but this machine shows 2"),
        (
            {"agent": {"network": HeadsConfig(channels=(4,))}},
            ConfigError,
            "channels need image observations",
        ),
    ],
)
def test_refused_before_anything_starts(sections, error, message):
    with pytest.raises(error, match=message):
        build(changed(**sections))


def test_a_refusal_leaves_nothing(tmp_path, capsys):
    out = tmp_path / "run"
    line = ["run", "lpg", "--evaluation.rules", "poo", "--out", str(out)]
    assert cli.main(line) == 1
    assert "Did you mean 'ppo'?" in capsys.readouterr().err
    assert not out.exists()


@pytest.mark.parametrize("env", [GRID, "chain/short"])
def test_an_oracle_where_there_is_one(env):
    build(changed(levels={"env": env}, curriculum=OPTIMAL))


@pytest.mark.parametrize("score", ["l1_value_loss", "max_monte_carlo", "learnability"])
def test_every_other_score_builds(score):
    build(changed(curriculum={"kind": "replay", "score": score}))


def test_comparisons_are_lived_as_long_by_everyone():
    """At every horizon, and on environments that were never seen."""
    config = changed(
        agent={"num_envs": 32, "rollout_length": 32},
        evaluation={"rules": ("a2c",), "horizons": (0.2, 1.0, 2.0), "envs": (BANDIT, GRID)},
    )
    training = build(config)
    theta = training.theta_start()
    found = {}
    for entry in training.problem.comparisons:
        agents = entry.candidates(theta, jax.tree.map(lambda x: x + 1, theta))
        assert list(agents) == ["learned", "start", "a2c"]
        assert agents["learned"].theta is theta
        assert agents["learned"].learner is agents["start"].learner
        steps = {agent.updates * agent.batch_size for agent in agents.values()}
        found[entry.name] = (entry.held_out, steps)
    assert found == {
        GRID: (False, {5 * 1024}),
        f"{GRID} 0.2x": (True, {1024}),
        f"{GRID} 2x": (True, {10 * 1024}),
        BANDIT: (True, {1280}),
    }
