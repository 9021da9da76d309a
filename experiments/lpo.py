"""LPO: evolve the drift function of policy optimisation (Lu et al. 2022, arXiv:2210.05639)."""

from dataclasses import replace

from metarl.estimators.full_es import FullESConfig
from metarl.inner.ppo_config import PPOConfig
from metarl.networks.actor_critic import NetworkConfig
from metarl.problems.agent_settings import settings_for
from metarl.problems.config import EvaluationConfig, LoopConfig, OuterConfig
from metarl.problems.drift.config import EvolveRuleConfig, TaskConfig
from metarl.rules.learned_drift import LearnedDriftConfig

DESCRIPTION = "evolve a policy-optimisation objective (LPO) and compare it with PPO and DPO"

# Lifetimes short enough that PPO, at its best learning rate, leaves room. Evolution on Breakout
# alone: the rule that it finds learns fast and explores little, and is worse than PPO on Acrobot.
QUICK = EvolveRuleConfig(
    task=TaskConfig(envs=("gymnax/Breakout-MinAtar",)),
    learner=PPOConfig(
        total_steps=12_800,
        num_envs=16,
        rollout_length=32,
        learning_rate=1e-2,
        schedule="constant",
        network=NetworkConfig(hidden=(32,), shared_torso=True),
    ),
    rule=LearnedDriftConfig(ppo_init=True),
    es=FullESConfig(population=32, sigma=0.05),
    outer=OuterConfig(generations=16, cosine_to=0.1, average=0.85),
    evaluation=EvaluationConfig(
        envs=("gymnax/CartPole-v1", "gymnax/Catch-bsuite"), learner="same", seeds=16
    ),
)

_CARTPOLE_LEARNER = PPOConfig(
    total_steps=25_600,
    num_envs=16,
    rollout_length=32,
    learning_rate=4e-3,
    schedule="constant",
)

# Two shipped drifts: corrections of PPO's clip, evolved with more lifetimes a member.
CARTPOLE = EvolveRuleConfig(
    task=TaskConfig(envs=("gymnax/CartPole-v1",)),
    learner=_CARTPOLE_LEARNER,
    rule=LearnedDriftConfig(ppo_init=True),
    es=FullESConfig(population=32, sigma=0.05, seeds=2),
    outer=OuterConfig(generations=40),
    evaluation=EvaluationConfig(
        envs=("gymnax/Acrobot-v1", "gymnax/Catch-bsuite"), learner="same", steps=51_200
    ),
)

BREAKOUT = replace(
    CARTPOLE,
    task=TaskConfig(envs=("gymnax/Breakout-MinAtar",)),
    es=FullESConfig(population=32, sigma=0.05),
    outer=OuterConfig(generations=24),
    evaluation=EvaluationConfig(
        envs=("gymnax/Asterix-MinAtar",), learner="same", steps=51_200, seeds=8
    ),
)

MINATAR = EvolveRuleConfig(
    task=TaskConfig(envs=("gymnax/Breakout-MinAtar",)),
    learner=settings_for("gymnax/Breakout-MinAtar"),
    es=FullESConfig(population=64, sigma=0.03),
    outer=OuterConfig(generations=800, learning_rate=0.03, decay=0.99),
    evaluation=EvaluationConfig(
        envs=("gymnax/Asterix-MinAtar", "gymnax/Freeway-MinAtar", "gymnax/SpaceInvaders-MinAtar")
    ),
    loop=LoopConfig(checkpoint_every=4),
)

PAPER = EvolveRuleConfig(
    task=TaskConfig(envs=("brax/ant",)),
    learner=PPOConfig(
        total_steps=30_000_000,
        num_envs=2048,
        rollout_length=10,
        epochs=4,
        minibatches=32,
        learning_rate=3e-4,
        schedule="constant",
        gamma=0.97,
        entropy_coefficient=0.0,
        normalize_observation=True,
        network=NetworkConfig(hidden=(256, 256)),
    ),
    es=FullESConfig(
        population=32, sigma=0.04, common_random_numbers="population", shaping="z_score"
    ),
    outer=OuterConfig(generations=1025, learning_rate=0.01, decay=0.999),
    evaluation=EvaluationConfig(
        envs=("brax/halfcheetah", "brax/hopper", "brax/walker2d", "brax/humanoid"), seeds=10
    ),
    loop=LoopConfig(checkpoint_every=16, log_every=1, chunk=4),
)

PRESETS = {
    "quick": QUICK,
    "cartpole": CARTPOLE,
    "breakout": BREAKOUT,
    "minatar": MINATAR,
    "paper": PAPER,
}
DEFAULT = "quick"
