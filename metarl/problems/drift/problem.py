"""Registration of the problem; see `metarl.problems.registry`."""

from metarl.problems.drift.agents import AGENTS
from metarl.problems.drift.build import drift_problem
from metarl.problems.drift.config import EvolveRuleConfig
from metarl.problems.protocol import ProblemKind
from metarl.rules import registry as drift_registry


def _listing() -> dict[str, list[str]]:
    return {
        "drifts (metarl eval DRIFT --env ENV)": [
            f"handcrafted: {', '.join(drift_registry.HANDCRAFTED)}",
            f"learned, pretrained: {', '.join(drift_registry.pretrained()) or 'none'}; "
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
