"""Registration of the problem; see `metarl.problems.registry`."""

from metarl.problems.protocol import ProblemKind
from metarl.problems.update_rule.agents import AGENTS
from metarl.problems.update_rule.build import update_rule_problem
from metarl.problems.update_rule.config import TrainUpdateRuleConfig
from metarl.rules import lpg_registry


def _listing() -> dict[str, list[str]]:
    return {
        "update rules (metarl eval RULE --env ENV)": [
            f"handcrafted: {', '.join(AGENTS.handcrafted)}",
            f"learned, pretrained: {', '.join(lpg_registry.pretrained()) or 'none'}; "
            "or a .safetensors file",
            f"released by others: {', '.join(f'{name}:PATH' for name in AGENTS.external)}",
        ]
    }


PROBLEM = ProblemKind(
    name="update_rule",
    config=TrainUpdateRuleConfig,
    build=update_rule_problem,
    agents=AGENTS,
    baselines={"a2c": "A2C"},
    listing=_listing,
)
