"""Wrappers: functions from an environment to an environment.

The usual order, from the inside out: `rescale_action`, `time_limit`, `episode_statistics`,
`autoreset`, `vectorize`, `normalize_observation`, `normalize_reward`. Wrappers with per-episode
state go inside `autoreset`, which resets it; wrappers whose state is kept across episodes go
outside.
"""

from metarl.envs.wrappers.autoreset import autoreset
from metarl.envs.wrappers.episode_statistics import EpisodeStatisticsState, episode_statistics
from metarl.envs.wrappers.moments import Moments, initial_moments, merge_batch
from metarl.envs.wrappers.normalize_observation import (
    NormalizeObservationState,
    normalize_observation,
)
from metarl.envs.wrappers.normalize_reward import (
    NormalizeRewardState,
    normalize_reward,
)
from metarl.envs.wrappers.rescale_action import rescale_action
from metarl.envs.wrappers.time_limit import TimeLimitState, time_limit
from metarl.envs.wrappers.vectorize import vectorize

__all__ = [
    "EpisodeStatisticsState",
    "Moments",
    "NormalizeObservationState",
    "NormalizeRewardState",
    "TimeLimitState",
    "autoreset",
    "episode_statistics",
    "initial_moments",
    "merge_batch",
    "normalize_observation",
    "normalize_reward",
    "rescale_action",
    "time_limit",
    "vectorize",
]
