"""Registration of the problem; see `metarl.problems.registry`."""

from metarl import optimizers
from metarl.problems.optimizer import envelope_files
from metarl.problems.optimizer.agents import AGENTS
from metarl.problems.optimizer.baselines import BASELINES
from metarl.problems.optimizer.build import optimizer_problem
from metarl.problems.optimizer.config import TrainOptimizerConfig
from metarl.problems.optimizer.names import EXTERNAL_NAMES
from metarl.problems.protocol import ProblemKind
from metarl.tasks import families

_LABELS = {"adam": "Adam", "adamw": "AdamW", "sgd": "SGD", "adamw-cosine": "AdamW, cosine"}


def _listing() -> dict[str, list[str]]:
    return {
        "optimizers (metarl score OPTIMIZER --family FAMILY; metarl eval, applied to PPO)": [
            f"tuned baselines: {', '.join(BASELINES)}",
            f"learned, pretrained: {', '.join(optimizers.names()) or 'none'}",
            f"released by others: {', '.join(f'{name}:PATH' for name in EXTERNAL_NAMES)}",
            f"envelopes (--envelope): {', '.join(envelope_files.names()) or 'none'}",
        ],
        "families of tasks": families.names(),
    }


PROBLEM = ProblemKind(
    name="optimizer",
    config=TrainOptimizerConfig,
    build=optimizer_problem,
    agents=AGENTS,
    baselines={name: _LABELS.get(name, name) for name in BASELINES},
    listing=_listing,
)
