"""Settings of the actor-critic that suit each environment; the same for every rule.

Where they come from: CLASSIC from a coarse look at three learning rates with PPO's clip on Acrobot
and Catch; MinAtar from published tuning (below); CONTINUOUS and BRAX are usual values, not tuned.
None was chosen with a learned rule.
"""

from dataclasses import replace
from fnmatch import fnmatchcase

from metarl.envs.names import base_name
from metarl.envs.protocol import Environment
from metarl.envs.spaces import Discrete
from metarl.inner.ppo_config import PPOConfig
from metarl.inner.rule_agent_config import RuleAgentConfig
from metarl.networks.actor_critic import NetworkConfig
from metarl.networks.heads import HeadsConfig

CLASSIC = PPOConfig(
    total_steps=102_400,
    num_envs=16,
    rollout_length=32,
    epochs=4,
    minibatches=4,
    learning_rate=4e-3,
)

MINATAR = PPOConfig(
    total_steps=10_000_000,
    num_envs=64,
    rollout_length=128,
    epochs=4,
    minibatches=8,
    learning_rate=7e-3,
    adam_betas=(0.9, 0.99),
    network=NetworkConfig(activation="relu"),
)

CONTINUOUS = PPOConfig(
    total_steps=1_000_000,
    num_envs=16,
    rollout_length=128,
    epochs=10,
    minibatches=16,
    learning_rate=1e-3,
    gamma=0.95,
    entropy_coefficient=0.0,
    normalize_observation=True,
    normalize_reward=True,
)

BRAX = PPOConfig(
    total_steps=30_000_000,
    num_envs=2048,
    rollout_length=10,
    epochs=4,
    minibatches=32,
    learning_rate=3e-4,
    gamma=0.97,
    entropy_coefficient=0.0,
    normalize_observation=True,
    normalize_reward=True,
    network=NetworkConfig(hidden=(256, 256)),
)

_BY_PATTERN: dict[str, PPOConfig] = {
    "gymnax/Pendulum-v1": CONTINUOUS,
    "gymnax/MountainCarContinuous-v0": CONTINUOUS,
    # Adam as tuned for PPO by the authors of OPEN (Goldie et al. 2024, arXiv:2407.07082).
    "gymnax/Asterix-MinAtar": replace(MINATAR, learning_rate=3e-3, adam_betas=(0.9, 0.999)),
    "gymnax/Breakout-MinAtar": replace(MINATAR, learning_rate=1e-2),
    "gymnax/Freeway-MinAtar": replace(MINATAR, learning_rate=1e-3),
    "gymnax/*-MinAtar": MINATAR,
    "brax/*": BRAX,
}


def settings_for(env: str) -> PPOConfig:
    """Returns the settings for a name, its options aside; the first pattern that fits."""
    for pattern, config in _BY_PATTERN.items():
        if fnmatchcase(base_name(env), pattern):
            return config
    return CLASSIC


TABULAR_AGENT = RuleAgentConfig(
    updates=250,
    num_envs=64,
    rollout_length=20,
    descent="sgd",
    learning_rate=4.0,
    policy_learning_rate=40.0,
    network=HeadsConfig(hidden=(), bias=False),
)

NETWORK_AGENT = RuleAgentConfig(
    updates=1000,
    num_envs=64,
    rollout_length=20,
    descent="adam",
    learning_rate=1e-3,
    network=HeadsConfig(hidden=(64,), activation="relu"),
)


def agent_settings_for(env: Environment) -> RuleAgentConfig:
    """Returns the settings of an agent with an update rule.

    A table where observations are numbers, with the step sizes of GROOVE's public code (Jackson et
    al. 2023, arXiv:2310.02782); a small network elsewhere.
    """
    return TABULAR_AGENT if isinstance(env.observation_space, Discrete) else NETWORK_AGENT


def baseline_settings_for(env: Environment, settings: RuleAgentConfig) -> RuleAgentConfig:
    """Returns the settings of a handcrafted update rule that stands beside a learned one.

    Rollouts, lifetime and network are the learned rule's; the descent is the handcrafted one's own:
    for tables Adam at the best of five rates from 0.01 to 0.2, which advantage actor-critic reached
    on `grid/small` (32 levels, 100 updates); for networks Adam at a usual rate, not tuned.
    """
    tabular = isinstance(env.observation_space, Discrete)
    rate = 0.2 if tabular else 3e-3
    return replace(settings, descent="adam", learning_rate=rate, policy_learning_rate=None)
