"""Small runs that meta-train an update rule."""

from dataclasses import replace

from metarl.estimators.full_es import FullESConfig
from metarl.estimators.truncated_backprop import TruncatedBackpropConfig
from metarl.inner.rule_agent_config import RuleAgentConfig
from metarl.networks.heads import HeadsConfig
from metarl.problems.config import EvaluationConfig, LoopConfig, OuterConfig
from metarl.problems.update_rule.config import (
    CurriculumConfig,
    LevelsConfig,
    MetaGradientConfig,
    TrainUpdateRuleConfig,
)
from metarl.rules.lpg_network import LPGConfig
from metarl.tasks.curricula.level_replay import LevelReplayConfig
from tests.run.tiny import BANDIT

GRID = "grid/debug?observation=index"
GENERATIONS = 4

UNIFORM = TrainUpdateRuleConfig(
    levels=LevelsConfig(env=GRID, lifetime=(3, 5), window=1.0),
    agent=RuleAgentConfig(
        num_envs=2,
        rollout_length=4,
        descent="sgd",
        learning_rate=4.0,
        policy_learning_rate=40.0,
        network=HeadsConfig(hidden=(), bias=False),
    ),
    rule=LPGConfig(core="gru", width=4, categories=3, embedding=2),
    backprop=MetaGradientConfig(
        truncation=2, unrolls=TruncatedBackpropConfig(num_parallel=2, stagger=False, score_chunk=1)
    ),
    outer=OuterConfig(generations=GENERATIONS, learning_rate=0.05),
    evaluation=EvaluationConfig(envs=(BANDIT,), rules=("a2c",), seeds=2, steps=1280),
    loop=LoopConfig(keep=GENERATIONS),
)
REPLAY = replace(
    UNIFORM,
    curriculum=CurriculumConfig(
        kind="replay",
        score="l1_value_loss",  # never exactly zero, as a regret so small may be
        score_steps=4,
        replay=LevelReplayConfig(capacity=8, minimum_fill=0.0),
    ),
)
# Large perturbations on lives of their own, so that members of a pair seldom tie.
EVOLVED = replace(
    UNIFORM,
    method="es",
    es=FullESConfig(population=4, sigma=1.0, shaping="win_loss", tasks=2),
    outer=replace(UNIFORM.outer, generations=2),
)
