"""TA-LPO: a drift function that knows its age (Jackson et al. 2024, arXiv:2402.05828)."""

from dataclasses import replace

from metarl.experiments import lpo

from metarl.problems.config import EvaluationConfig
from metarl.rules.learned_drift import LearnedDriftConfig

DESCRIPTION = "evolve a drift function that knows the age of its agent, over several horizons"

HORIZONS = (0.25, 0.5, 2.0, 4.0)

QUICK = replace(
    lpo.QUICK,
    rule=LearnedDriftConfig(temporal=True),
    evaluation=EvaluationConfig(envs=(), learner="same", horizons=HORIZONS),
)

# Corrections of PPO's clip, as the pretrained drifts that are not temporal.
CARTPOLE = replace(QUICK, rule=LearnedDriftConfig(temporal=True, ppo_init=True), es=lpo.CARTPOLE.es)

MINATAR = replace(
    lpo.MINATAR,
    rule=LearnedDriftConfig(temporal=True),
    evaluation=replace(lpo.MINATAR.evaluation, horizons=HORIZONS),
)

PAPER = replace(
    lpo.PAPER,
    rule=LearnedDriftConfig(temporal=True),
    evaluation=replace(lpo.PAPER.evaluation, horizons=HORIZONS),
)

PRESETS = {"quick": QUICK, "cartpole": CARTPOLE, "minatar": MINATAR, "paper": PAPER}
DEFAULT = "quick"
