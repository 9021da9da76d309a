"""L3: learners: the inner loop of meta-learning."""

from metarl.inner.meta_agent import MetaAgent, MetaObjectiveConfig
from metarl.inner.ppo import PPO
from metarl.inner.ppo_config import PPOConfig
from metarl.inner.rule_agent import RuleAgent
from metarl.inner.rule_agent_config import RuleAgentConfig
from metarl.inner.scores import MeanReturnLoss
from metarl.inner.training import Training
from metarl.inner.training_meta_loss import mean_loss, training_truncation

__all__ = [
    "PPO",
    "MeanReturnLoss",
    "MetaAgent",
    "MetaObjectiveConfig",
    "PPOConfig",
    "RuleAgent",
    "RuleAgentConfig",
    "Training",
    "mean_loss",
    "training_truncation",
]
