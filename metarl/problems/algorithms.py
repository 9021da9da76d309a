"""Algorithms of RL agents: the contract, and the settings of agents on an environment."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from metarl.core.mesh import Layout
from metarl.core.types import Key, Theta
from metarl.envs.protocol import Environment
from metarl.evaluation.candidates import Candidate
from metarl.evaluation.evaluate import evaluate
from metarl.evaluation.results import EnvironmentResult
from metarl.inner.ppo_config import PPOConfig
from metarl.inner.rule_agent_config import RuleAgentConfig
from metarl.problems.agent_settings import agent_settings_for, baseline_settings_for, settings_for


@dataclass(frozen=True)
class Settings:
    """What agents on one environment are made with.

    Attributes:
      learner: of actor-critics with a drift or an optimizer of their own.
      agent: of agents with a learned update rule.
      baseline: of agents with a handcrafted one.
      longest_learner_steps: environment steps of the longest lifetime of a `learner` among those
        compared on the environment: one compiled program serves all that are no longer.
      longest_agent_steps: the same of an `agent` or `baseline`.
    """

    learner: PPOConfig
    agent: RuleAgentConfig
    baseline: RuleAgentConfig
    longest_learner_steps: int = 0
    longest_agent_steps: int = 0


def default_settings(env: Environment, steps: int | None = None) -> Settings:
    """The settings that suit an environment.

    Args:
      env: the environment.
      steps: environment steps of a lifetime; None = the settings' own.

    Raises:
      ConfigError: fewer steps than one update needs.
    """
    learner, agent = settings_for(env.name), agent_settings_for(env)
    if steps is not None:
        learner = replace(learner, total_steps=steps)
        agent = replace(agent, updates=max(1, steps // agent.batch_size))
    return Settings(learner, agent, baseline_settings_for(env, agent))


def at_horizons(settings: Settings, horizons: Sequence[float]) -> list[Settings]:
    """Settings with every lifetime stretched by each factor, to at least one update."""
    stretched = [
        replace(
            settings,
            learner=settings.learner.stretched(horizon),
            agent=settings.agent.stretched(horizon),
            baseline=settings.baseline.stretched(horizon),
        )
        for horizon in horizons
    ]
    learner = max(entry.learner.total_steps for entry in stretched)
    agent = max(entry.agent.updates * entry.agent.batch_size for entry in stretched)
    return [
        replace(entry, longest_learner_steps=learner, longest_agent_steps=agent)
        for entry in stretched
    ]


class Algorithm(ABC):
    """What an RL agent learns by; makes agents for any environment."""

    @abstractmethod
    def agent(self, env: Environment, settings: Settings) -> Candidate:
        """Makes an agent for an environment.

        Raises:
          ConfigError: the algorithm or the settings do not fit the environment.
        """

    @classmethod
    def agents(
        cls,
        env: Environment,
        algorithms: Mapping[str, "Algorithm"],
        settings: Mapping[str, Settings],
    ) -> dict[str, Candidate]:
        """Makes agents of several algorithms of this class; a class may let them share programs."""
        return {name: entry.agent(env, settings[name]) for name, entry in algorithms.items()}


@dataclass(frozen=True)
class AgentComparison:
    """A comparison of agents on an environment.

    Attributes:
      name: name of the environment, and of what distinguishes this comparison.
      env: unbatched environment, without autoreset.
      held_out: whether it was not part of meta-training.
      candidates: `(theta, theta at the start) -> agents by name`, the learned one as `LEARNED`.
      seeds: number of agents of each.
    """

    name: str
    env: Environment
    held_out: bool
    candidates: Callable[[Theta, Theta], dict[str, Candidate]]
    seeds: int

    def measure(self, theta: Theta, start: Theta, key: Key, layout: Layout) -> EnvironmentResult:
        """Trains the agents; see `metarl.problems.protocol.Comparison`."""
        candidates = self.candidates(theta, start)
        result = evaluate(self.env, candidates, self.seeds, key, self.held_out, layout)
        return replace(result, env=self.name)


@dataclass(frozen=True)
class AgentNames:
    """Algorithms that a kind of problem contributes to `metarl eval`.

    Attributes:
      kind: `kind` of the artifact cards that `load` reads.
      load: `path or pretrained name -> algorithm`.
      pretrained: `() -> names` of the weights that come with the library.
      handcrafted: name -> function that makes the algorithm.
      external: prefix -> `path -> algorithm`, for weights that others released (`prefix:path`).
    """

    kind: str
    load: Callable[[str], Algorithm]
    pretrained: Callable[[], Sequence[str]]
    handcrafted: Mapping[str, Callable[[], Algorithm]] = field(default_factory=dict)
    external: Mapping[str, Callable[[str], Algorithm]] = field(default_factory=dict)
