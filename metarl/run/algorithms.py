"""Algorithms by the names that `metarl eval` takes: what agents learn by."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import jax

from metarl.core.errors import ConfigError, nearest
from metarl.core.types import Theta
from metarl.envs.protocol import Environment
from metarl.envs.spaces import Discrete
from metarl.evaluation.contenders import (
    Contender,
    DriftEntry,
    drift_contenders,
    optimizer_contender,
    rule_contender,
)
from metarl.inner.ppo_config import PPOConfig
from metarl.inner.rule_agent_config import RuleAgentConfig
from metarl.io.artifacts import CARD_SUFFIX, WEIGHTS_SUFFIX, load_artifact
from metarl.networks.action_model import ActionModelConfig, AgentNetwork
from metarl.networks.heads import Shapes
from metarl.optimizers import artifacts as optimizer_artifacts
from metarl.optimizers.external import registry as external_optimizers
from metarl.optimizers.open import open_weights
from metarl.optimizers.protocol import InnerOptimizer
from metarl.rules import disco, library, lpg_library
from metarl.rules.a2c import a2c
from metarl.rules.drifts import ppo
from metarl.rules.update_rule import UpdateRule
from metarl.run.settings import agent_settings_for, baseline_settings_for, settings_for


@dataclass(frozen=True)
class Settings:
    """What agents on one environment are made with.

    Attributes:
      learner: of actor-critics with a drift or an optimizer of their own.
      agent: of agents with a learned update rule.
      baseline: of agents with a hand-made one.
      longest_steps: environment steps of the longest lifetime among those compared on the
        environment: one compiled program serves all that are no longer.
    """

    learner: PPOConfig
    agent: RuleAgentConfig
    baseline: RuleAgentConfig
    longest_steps: int = 0


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
    stretched = [_stretched(settings, horizon) for horizon in horizons]
    longest = max(
        max(entry.learner.total_steps, entry.agent.updates * entry.agent.batch_size)
        for entry in stretched
    )
    return [replace(entry, longest_steps=longest) for entry in stretched]


def _stretched(settings: Settings, horizon: float) -> Settings:
    learner = settings.learner
    steps = max(learner.batch_size, round(horizon * learner.total_steps))
    agent, baseline = (
        replace(entry, updates=max(1, round(horizon * entry.updates)))
        for entry in (settings.agent, settings.baseline)
    )
    return Settings(replace(learner, total_steps=steps), agent, baseline)


@dataclass(frozen=True)
class DriftAlgorithm:
    """The actor-critic with a drift."""

    entry: DriftEntry


@dataclass(frozen=True)
class RuleAlgorithm:
    """An agent with an update rule."""

    rule: UpdateRule
    theta: Theta

    def contender(self, env: Environment, settings: Settings) -> Contender:
        """Ready to live on an environment."""
        return rule_contender(env, self.rule, self.theta, settings.agent, settings.longest_steps)


@dataclass(frozen=True)
class BaselineAlgorithm:
    """An agent with a hand-made update rule, which has settings of its own."""

    rule: UpdateRule

    def contender(self, env: Environment, settings: Settings) -> Contender:
        """Ready to live on an environment."""
        theta = self.rule.init(jax.random.key(0))
        return rule_contender(env, self.rule, theta, settings.baseline, settings.longest_steps)


@dataclass(frozen=True)
class DiscoAlgorithm:
    """An agent with DiscoRL's update rule, network and optimizer, which belong together."""

    rule: UpdateRule
    theta: Theta

    def contender(self, env: Environment, settings: Settings) -> Contender:
        """Ready to live on an environment; takes its lifetime and batch from the settings."""
        if isinstance(env.observation_space, Discrete):
            raise ConfigError(f"disco needs observations that are arrays; {env.name} has numbers.")
        rank = len(env.observation_space.shape)
        return rule_contender(
            env,
            self.rule,
            self.theta,
            settings.agent,
            settings.longest_steps,
            make_network=partial(_action_model, rank),
            tx=disco.disco_descent(settings.agent.learning_rate),
        )


def _action_model(rank: int, outputs: Shapes) -> AgentNetwork:
    return AgentNetwork(ActionModelConfig(), outputs, rank)


@dataclass(frozen=True)
class OptimizerAlgorithm:
    """PPO with an optimizer of its own."""

    optimizer: InnerOptimizer
    theta: Theta

    def contender(self, env: Environment, settings: Settings) -> Contender:
        """Ready to live on an environment."""
        return optimizer_contender(
            env,
            ppo(),
            self.optimizer,
            self.theta,
            settings.learner,
            settings.longest_steps,
        )


Algorithm = DriftAlgorithm | RuleAlgorithm | BaselineAlgorithm | DiscoAlgorithm | OptimizerAlgorithm


def _open(path: str) -> OptimizerAlgorithm:
    optimizer = open_weights.by_path(path)
    return OptimizerAlgorithm(optimizer, optimizer.init(jax.random.key(0)))


def _disco(path: str) -> DiscoAlgorithm:
    rule = disco.load(path).rule
    return DiscoAlgorithm(rule, rule.init(jax.random.key(0)))


def _optimizer(name: str) -> OptimizerAlgorithm:
    optimizer = optimizer_artifacts.inner(name)
    return OptimizerAlgorithm(optimizer, optimizer.init(jax.random.key(0)))


def _released_optimizer(prefix: str, path: str) -> OptimizerAlgorithm:
    return _optimizer(f"{prefix}:{path}")


RELEASED: Mapping[str, Callable[[str], Algorithm]] = {
    "open": _open,
    "disco": _disco,
    **{prefix: partial(_released_optimizer, prefix) for prefix in external_optimizers.EXTERNAL},
}
"""Rules that others released, loaded as `<name>:<path of their weights>`."""

HAND_MADE: Mapping[str, Callable[[], UpdateRule]] = {"a2c": a2c}
"""Update rules that were written down, by name."""


def names() -> list[str]:
    """Names that need no path."""
    return [
        *library.WRITTEN_DOWN,
        *HAND_MADE,
        *library.shipped(),
        *lpg_library.shipped(),
        *optimizer_artifacts.names(),
    ]


def by_name(name: str) -> Algorithm:
    """Finds an algorithm.

    Args:
      name: of a rule that was written down or is shipped; the path of a learned one; or weights
        that others released, such as `open:PATH`, see `RELEASED`. An optimizer moves PPO.

    Raises:
      ConfigError: nothing is called so.
      ArtifactError: the file is missing, altered, or of another kind.
    """
    prefix, colon, path = name.partition(":")
    if colon and prefix in RELEASED:
        return RELEASED[prefix](path)
    if name in HAND_MADE:
        return BaselineAlgorithm(HAND_MADE[name]())
    if _is_optimizer(name):
        return _optimizer(name)
    if _is_lpg(name):
        rule = lpg_library.load(name).rule
        return RuleAlgorithm(rule, rule.init(jax.random.key(0)))
    if not _is_file(name) and name not in names():
        released = ", ".join(f"{entry}:PATH" for entry in RELEASED)
        raise ConfigError(
            f"Unknown rule {name!r}.{nearest(name, names())} Permitted: {', '.join(names())}, "
            f"{released}, or the path of a {WEIGHTS_SUFFIX} file."
        )
    drift = library.by_name(name)
    return DriftAlgorithm(DriftEntry(drift, drift.init(jax.random.key(0))))


def _is_file(name: str) -> bool:
    return name.endswith((WEIGHTS_SUFFIX, CARD_SUFFIX))


def _is_lpg(name: str) -> bool:
    if not _is_file(name):
        return name in lpg_library.shipped()
    return load_artifact(name).card.get("kind") == lpg_library.KIND


def _is_optimizer(name: str) -> bool:
    if not _is_file(name):
        return name in optimizer_artifacts.names()
    return load_artifact(name).card.get("kind") == optimizer_artifacts.KIND


def contenders(
    env: Environment, algorithms: Mapping[str, Algorithm], settings: Mapping[str, Settings]
) -> dict[str, Contender]:
    """Makes agents of every algorithm for an environment, in the order given.

    Actor-critics with a drift and equal settings share one program.

    Args:
      env: the environment.
      algorithms: name -> algorithm.
      settings: name -> settings of its agents.
    """
    shared: dict[tuple[PPOConfig, int], dict[str, DriftEntry]] = {}
    found: dict[str, Contender] = {}
    for name, algorithm in algorithms.items():
        if isinstance(algorithm, DriftAlgorithm):
            chosen = settings[name]
            same = shared.setdefault((chosen.learner, chosen.longest_steps), {})
            same[name] = algorithm.entry
        else:
            found[name] = algorithm.contender(env, settings[name])
    for (learner, longest_steps), drifts in shared.items():
        found |= drift_contenders(env, drifts, learner, longest_steps)
    return {name: found[name] for name in algorithms}
