"""GROOVE: LPG on levels of high algorithmic regret (Jackson et al. 2023, arXiv:2310.02782)."""

from dataclasses import replace

from metarl.experiments import lpg

from metarl.problems.update_rule.config import CurriculumConfig
from metarl.tasks.curricula.level_replay import LevelReplayConfig

DESCRIPTION = "meta-train LPG on levels that a regret curriculum picks"

QUICK = replace(
    lpg.QUICK,
    curriculum=CurriculumConfig(
        kind="replay", score="regret", replay=LevelReplayConfig(capacity=64, minimum_fill=0.25)
    ),
)

LAPTOP = replace(
    lpg.LAPTOP,
    curriculum=CurriculumConfig(
        kind="replay", score="regret", replay=LevelReplayConfig(capacity=512)
    ),
)

PAPER = replace(
    lpg.PAPER,
    curriculum=CurriculumConfig(kind="replay", score="regret", replay=LevelReplayConfig()),
)

PRESETS = {"quick": QUICK, "laptop": LAPTOP, "paper": PAPER}
DEFAULT = "quick"
