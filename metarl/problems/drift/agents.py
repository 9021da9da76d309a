"""PPO's actor-critic with a drift, as an algorithm of `metarl eval`."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import jax

from metarl.envs.protocol import Environment
from metarl.evaluation.candidates import Candidate, DriftEntry, drift_candidates
from metarl.inner.ppo_config import PPOConfig
from metarl.problems.algorithms import AgentNames, Algorithm, Settings
from metarl.rules import registry as drift_registry


@dataclass(frozen=True)
class DriftAlgorithm(Algorithm):
    """PPO's actor-critic with a drift."""

    entry: DriftEntry

    def agent(self, env: Environment, settings: Settings) -> Candidate:
        """Makes an agent for an environment."""
        return type(self).agents(env, {"": self}, {"": settings})[""]

    @classmethod
    def agents(
        cls,
        env: Environment,
        algorithms: Mapping[str, Algorithm],
        settings: Mapping[str, Settings],
    ) -> dict[str, Candidate]:
        """Makes agents, of which those with equal settings share one compiled program."""
        shared: dict[tuple[PPOConfig, int], dict[str, DriftEntry]] = {}
        for name, algorithm in algorithms.items():
            assert isinstance(algorithm, DriftAlgorithm)
            chosen = settings[name]
            group = shared.setdefault((chosen.learner, chosen.longest_learner_steps), {})
            group[name] = algorithm.entry
        found: dict[str, Candidate] = {}
        for (learner, longest_steps), drifts in shared.items():
            found |= drift_candidates(env, drifts, learner, longest_steps)
        return found


def by_name(name: str) -> DriftAlgorithm:
    """The algorithm of a handcrafted drift, or of a learned one by its name or path."""
    drift = drift_registry.by_name(name)
    return DriftAlgorithm(DriftEntry(drift, drift.init(jax.random.key(0))))


AGENTS = AgentNames(
    kind=drift_registry.KIND,
    load=by_name,
    pretrained=drift_registry.pretrained,
    handcrafted={name: partial(by_name, name) for name in drift_registry.HANDCRAFTED},
)
