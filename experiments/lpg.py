"""LPG: meta-train a policy-gradient rule on grid worlds (Oh et al. 2020, arXiv:2007.08794)."""

from dataclasses import replace

from metarl.estimators.truncated_backprop import TruncatedBackpropConfig
from metarl.inner.meta_agent import MetaObjectiveConfig
from metarl.inner.rule_agent_config import RuleAgentConfig
from metarl.networks.heads import HeadsConfig
from metarl.problems.config import EvaluationConfig, LoopConfig, OuterConfig
from metarl.problems.update_rule.config import (
    LevelsConfig,
    MetaGradientConfig,
    TrainUpdateRuleConfig,
)
from metarl.rules.lpg_network import LPGConfig

DESCRIPTION = "meta-train a whole update rule (LPG) on grid worlds, and compare it with A2C"

AGENT = RuleAgentConfig(
    updates=60,
    num_envs=16,
    rollout_length=20,
    descent="sgd",
    learning_rate=4.0,
    policy_learning_rate=40.0,
    network=HeadsConfig(hidden=(), bias=False),
)

QUICK = TrainUpdateRuleConfig(
    levels=LevelsConfig(env="grid/small?observation=index", lifetime=(60, 60)),
    agent=AGENT,
    rule=LPGConfig(core="gru", width=32),
    backprop=MetaGradientConfig(unrolls=TruncatedBackpropConfig(num_parallel=16)),
    outer=OuterConfig(generations=300, learning_rate=1e-3, max_grad_norm=1.0),
    evaluation=EvaluationConfig(
        envs=("grid/medium?observation=index", "chain/short", "gymnax/Catch-bsuite"),
        rules=("a2c",),
        steps=40_000,
    ),
    loop=LoopConfig(log_every=10, checkpoint_every=50),
)

# What the shipped rule was trained with: about a quarter of an hour on two cores.
SMALL = replace(
    QUICK,
    levels=LevelsConfig(env="grid/small?observation=index", lifetime=(100, 100)),
    backprop=MetaGradientConfig(unrolls=TruncatedBackpropConfig(num_parallel=32)),
    outer=OuterConfig(generations=2000, learning_rate=5e-4, max_grad_norm=1.0),
    loop=LoopConfig(log_every=20, checkpoint_every=100),
)

LAPTOP = replace(
    QUICK,
    levels=LevelsConfig(env="grid/all?observation=index", lifetime=(250, 250)),
    agent=replace(AGENT, updates=250, num_envs=32),
    rule=LPGConfig(core="gru", width=64),
    backprop=MetaGradientConfig(unrolls=TruncatedBackpropConfig(num_parallel=32)),
    outer=OuterConfig(generations=3000, learning_rate=3e-4, max_grad_norm=1.0),
)

PAPER = replace(
    QUICK,
    levels=LevelsConfig(env="grid/all?observation=index", lifetime=(1000, 1000)),
    agent=replace(AGENT, updates=1000, num_envs=64),
    rule=LPGConfig(),
    backprop=MetaGradientConfig(
        unrolls=TruncatedBackpropConfig(num_parallel=512),
        objective=MetaObjectiveConfig(),
    ),
    outer=OuterConfig(generations=30_000, learning_rate=1e-4),
    loop=LoopConfig(log_every=10, checkpoint_every=100, chunk=32),
)

PRESETS = {"quick": QUICK, "small": SMALL, "laptop": LAPTOP, "paper": PAPER}
DEFAULT = "quick"
