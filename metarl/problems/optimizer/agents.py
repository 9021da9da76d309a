"""PPO with a learned optimizer in place of Adam, as an algorithm of `metarl eval`."""

from dataclasses import dataclass
from functools import partial

import jax

from metarl.core.types import Theta
from metarl.envs.protocol import Environment
from metarl.evaluation.candidates import Candidate, optimizer_candidate
from metarl.optimizers import artifacts
from metarl.optimizers.external.registry import EXTERNAL
from metarl.optimizers.open import open_weights
from metarl.optimizers.protocol import InnerOptimizer
from metarl.problems.algorithms import AgentNames, Algorithm, Settings
from metarl.rules.drifts import ppo


@dataclass(frozen=True)
class OptimizerAlgorithm(Algorithm):
    """PPO with an optimizer of its own."""

    optimizer: InnerOptimizer
    theta: Theta

    def agent(self, env: Environment, settings: Settings) -> Candidate:
        """Makes an agent for an environment."""
        return optimizer_candidate(
            env,
            ppo(),
            self.optimizer,
            self.theta,
            settings.learner,
            settings.longest_learner_steps,
        )


def _of(optimizer: InnerOptimizer) -> OptimizerAlgorithm:
    return OptimizerAlgorithm(optimizer, optimizer.init(jax.random.key(0)))


def _load(name: str) -> OptimizerAlgorithm:
    return _of(artifacts.inner(name))


def _open(path: str) -> OptimizerAlgorithm:
    return _of(open_weights.by_path(path))


def _external(prefix: str, path: str) -> OptimizerAlgorithm:
    return _load(f"{prefix}:{path}")


AGENTS = AgentNames(
    kind=artifacts.KIND,
    load=_load,
    pretrained=artifacts.names,
    external={"open": _open, **{prefix: partial(_external, prefix) for prefix in EXTERNAL}},
)
