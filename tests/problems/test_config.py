"""Settings that are refused where they are written."""

from dataclasses import replace

import pytest

from metarl.core.errors import ConfigError
from metarl.estimators.truncated_backprop import TruncatedBackpropConfig
from metarl.inner.rule_agent_config import RuleAgentConfig
from metarl.problems.config import EvaluationConfig, LoopConfig, OuterConfig
from metarl.problems.drift.config import EvolveRuleConfig, TaskConfig
from metarl.problems.update_rule.config import (
    CurriculumConfig,
    MetaGradientConfig,
    TrainUpdateRuleConfig,
)
from tests.run.tiny import BANDIT, CATCH, TINY


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: TaskConfig(envs=()), "task.envs is empty"),
        (lambda: TaskConfig(envs=(CATCH, BANDIT, CATCH)), f"task.envs names '{CATCH}' more"),
        (lambda: TaskConfig(window=0.0), "window must lie in"),
        (lambda: TaskConfig(window=1.5), "window must lie in"),
        (lambda: OuterConfig(generations=0), "generations must be positive"),
        (lambda: OuterConfig(learning_rate=float("nan")), "learning_rate must be positive"),
        (lambda: OuterConfig(decay=1.1), "decay must lie in"),
        (lambda: EvaluationConfig(seeds=0), "seeds must be positive"),
        (lambda: EvaluationConfig(steps=-5), "steps must be positive"),
        (lambda: EvaluationConfig(envs=(CATCH, CATCH)), "evaluation.envs names"),
        (lambda: EvaluationConfig(rules=("ppo", "ppo")), "evaluation.rules names 'ppo' more"),
        (lambda: LoopConfig(keep=0), "keep must be positive"),
        (lambda: LoopConfig(chunk=-1), "chunk must be positive"),
        (lambda: LoopConfig(devices=0), "devices must be positive"),
        (lambda: LoopConfig(log_every=2, checkpoint_every=3), "3 is not a multiple of .*=2"),
        (lambda: EvolveRuleConfig(seed=-1), "seed must lie in"),
        # jax makes the same key of 2**32 and of 0.
        (lambda: EvolveRuleConfig(seed=2**32), "seed must lie in"),
    ],
)
def test_refused(make, message):
    with pytest.raises(ConfigError, match=message):
        make()


def test_lifetimes_and_steps_are_counted():
    config = replace(
        TINY,
        task=TaskConfig(envs=(CATCH, BANDIT)),
        es=replace(TINY.es, population=4, tasks=3, seeds=5),
        learner=replace(TINY.learner, total_steps=100),
    )
    assert config.lifetimes == 4 * 3 * 5 * 2
    # 100 steps hold three whole batches of 2 x 16.
    assert config.steps_per_generation == 120 * 96


def test_a_regret_curriculum_pays_for_its_antagonists():
    """4 lives x (5 updates and an exam) x 8 steps; regret lives 5 updates of each once more."""
    config = TrainUpdateRuleConfig(
        agent=RuleAgentConfig(num_envs=2, rollout_length=4),
        backprop=MetaGradientConfig(truncation=5, unrolls=TruncatedBackpropConfig(num_parallel=4)),
    )
    assert config.steps_per_generation == 4 * 6 * 8
    regret = replace(config, curriculum=CurriculumConfig(kind="replay", score="regret"))
    assert regret.steps_per_generation == 4 * 11 * 8
    oracle = replace(config, curriculum=CurriculumConfig(kind="replay", score="optimal_regret"))
    assert oracle.steps_per_generation == 4 * 6 * 8
