"""L2: drift functions and update rules of reinforcement learning, handcrafted or learned."""

from metarl.rules.drifts import (
    dpo,
    dpo_drift,
    kl_drift,
    mdpo,
    no_drift,
    none,
    ppo,
    ppo_clip_drift,
)
from metarl.rules.learned_drift import LearnedDriftConfig, learned_drift
from metarl.rules.protocol import Drift
from metarl.rules.registry import LoadedDrift, by_name, load, pretrained, save

__all__ = [
    "Drift",
    "LearnedDriftConfig",
    "LoadedDrift",
    "by_name",
    "dpo",
    "dpo_drift",
    "kl_drift",
    "learned_drift",
    "load",
    "mdpo",
    "no_drift",
    "none",
    "ppo",
    "ppo_clip_drift",
    "pretrained",
    "save",
]
