"""Registration of the problem; see `metarl.problems.registry`."""

from metarl.problems.drift.agents import AGENTS
from metarl.problems.drift.build import drift_problem
from metarl.problems.drift.config import EvolveRuleConfig
from metarl.problems.protocol import ProblemKind
from metarl.rules import library


def _listing() -> dict[str, list[str]]:
    return {
        "drifts (metarl eval DRIFT --env ENV)": [
            f"handcrafted: {', '.join(library.WRITTEN_DOWN)}",
            f"learned, pretrained: {', '.join(library.shipped()) or 'none'}; "
            "or a .safetensors file",
        ]
    }


PROBLEM = ProblemKind(
    name="drift",
    config=EvolveRuleConfig,
    build=drift_problem,
    agents=AGENTS,
    baselines={"ppo": "PPO", "dpo": "DPO", "mdpo": "MDPO", "none": "no drift"},
    listing=_listing,
)
