"""L2: curricula, distributions over tasks that adapt to the scores of finished lifetimes."""

from metarl.tasks.curricula.level_replay import LevelBuffer, LevelReplay, LevelReplayConfig
from metarl.tasks.curricula.priorities import PRIORITIZATIONS
from metarl.tasks.curricula.scheduled import ScheduledLifetimes, ScheduledState, growing
from metarl.tasks.curricula.uniform import Uniform

__all__ = [
    "PRIORITIZATIONS",
    "LevelBuffer",
    "LevelReplay",
    "LevelReplayConfig",
    "ScheduledLifetimes",
    "ScheduledState",
    "Uniform",
    "growing",
]
