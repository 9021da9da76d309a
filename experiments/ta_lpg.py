"""TA-LPG: an update rule that knows its age, evolved (Jackson et al. 2024, arXiv:2402.05828)."""

from dataclasses import replace

from metarl.experiments import lpg

from metarl.estimators.full_es import FullESConfig
from metarl.problems.config import EvaluationConfig, LoopConfig, OuterConfig
from metarl.problems.update_rule.config import LevelsConfig
from metarl.rules.lpg_network import LPGConfig

DESCRIPTION = "evolve an update rule that knows the age and the lifetime of its agent"

# A pair of members shares its level, its lifetime and its agent; who wins is all that counts.
QUICK = replace(
    lpg.QUICK,
    levels=LevelsConfig(env="grid/small?observation=index", lifetime=(10, 60)),
    rule=LPGConfig(core="gru", width=16, clock="both"),
    method="es",
    es=FullESConfig(population=32, sigma=0.1, shaping="win_loss"),
    outer=OuterConfig(generations=100, learning_rate=1e-2, decay=0.999),
    evaluation=EvaluationConfig(
        envs=("grid/medium?observation=index",),
        rules=("a2c",),
        steps=40_000,
        horizons=(0.25, 0.5, 2.0, 4.0),
    ),
    loop=LoopConfig(log_every=2, checkpoint_every=10),
)

# The ablations that readers of the paper asked for, each one switch away from QUICK.
RELATIVE = replace(QUICK, rule=replace(QUICK.rule, clock="relative"))
LOG = replace(QUICK, rule=replace(QUICK.rule, clock="log"))
NO_CLOCK = replace(QUICK, rule=replace(QUICK.rule, clock="none"))
FREE_TASKS = replace(QUICK, es=replace(QUICK.es, common_random_numbers="none"))
META_GRADIENT = replace(lpg.QUICK, levels=QUICK.levels, rule=QUICK.rule)

PAPER = replace(
    lpg.PAPER,
    levels=LevelsConfig(env="grid/all_vrandlife?observation=index", lifetime=(10, 250)),
    rule=LPGConfig(clock="both"),
    method="es",
    es=FullESConfig(population=1024, sigma=0.1, shaping="win_loss"),
    outer=OuterConfig(generations=2500, learning_rate=1e-2, decay=0.999),
    loop=LoopConfig(log_every=1, checkpoint_every=10, chunk=64),
)

PRESETS = {
    "quick": QUICK,
    "relative": RELATIVE,
    "log": LOG,
    "no-clock": NO_CLOCK,
    "free-tasks": FREE_TASKS,
    "meta-gradient": META_GRADIENT,
    "paper": PAPER,
}
DEFAULT = "quick"
