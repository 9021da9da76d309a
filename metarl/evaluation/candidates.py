"""Who is compared: agents of any kind, ready to live on an environment."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import jax
import jax.numpy as jnp

from metarl.core.contracts import Learner
from metarl.core.types import Theta
from metarl.envs.protocol import Environment
from metarl.inner.ppo import PPO, PPOTheta
from metarl.inner.ppo_config import PPOConfig
from metarl.inner.rule_agent import RuleAgent
from metarl.inner.rule_agent_config import RuleAgentConfig
from metarl.optimizers.protocol import InnerOptimizer
from metarl.rules.protocol import Drift
from metarl.rules.switch import SwitchTheta, switch
from metarl.rules.update_rule import UpdateRule


@dataclass(frozen=True, eq=False)
class Candidate:
    """An agent and the number of updates that it trains for.

    Candidates with equal learners share one compiled program, those of other lifetimes included.

    Attributes:
      learner: how it trains, on a `TimedTask`; its logs are `metarl.inner.scores.EpisodeLog`s.
      updates: K, inner steps of its lifetime.
      batch_size: environment steps of each.
      theta: its meta-parameters; `()` for a handcrafted one.
      settings: of the learner, for people to see.
      longest: inner steps of the longest lifetime that the compiled program runs; at least
        `updates`.
    """

    learner: Learner
    updates: int
    batch_size: int
    theta: Theta = ()
    settings: dict[str, Any] = field(default_factory=dict)
    longest: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "longest", max(self.updates, self.longest))


@dataclass(frozen=True)
class DriftEntry:
    """A drift with its meta-parameters; `()` for a handcrafted one."""

    rule: Drift
    theta: Theta = ()


def drift_candidates(
    env: Environment,
    drifts: Mapping[str, DriftEntry],
    config: PPOConfig,
    longest_steps: int = 0,
) -> dict[str, Candidate]:
    """Actor-critics with equal settings, each with its drift, in one compiled program.

    Args:
      env: unbatched environment, without autoreset.
      drifts: name -> drift.
      config: settings of every actor-critic.
      longest_steps: environment steps of the longest lifetime among those compared, for which the
        program is compiled; no fewer than the settings' own.
    """
    shared, longest = _longest(config, longest_steps)
    learner = PPO(env, shared, switch(tuple(entry.rule for entry in drifts.values())))
    thetas = tuple(entry.theta for entry in drifts.values())
    return {
        name: Candidate(
            learner,
            config.updates,
            config.batch_size,
            SwitchTheta(jnp.int32(number), thetas),
            asdict(config),
            longest,
        )
        for number, name in enumerate(drifts)
    }


def rule_candidate(
    env: Environment,
    rule: UpdateRule,
    theta: Theta,
    config: RuleAgentConfig,
    longest_steps: int = 0,
    **parts: Any,
) -> Candidate:
    """An agent that learns by an update rule.

    Args:
      env: unbatched environment, without autoreset.
      rule: the update rule.
      theta: its meta-parameters.
      config: settings of the agent; `updates` is its lifetime.
      longest_steps: see `drift_candidates`.
      **parts: further fields of `RuleAgent`.
    """
    longest = max(config.updates, longest_steps // config.batch_size)
    agent = RuleAgent(env, replace(config, updates=longest), rule, **parts)
    return Candidate(agent, config.updates, config.batch_size, theta, asdict(config), longest)


def optimizer_candidate(
    env: Environment,
    rule: Drift,
    optimizer: InnerOptimizer,
    theta: Theta,
    config: PPOConfig,
    longest_steps: int = 0,
) -> Candidate:
    """An actor-critic whose gradients go through an optimizer of its own.

    Args:
      env: unbatched environment, without autoreset.
      rule: the drift; its meta-parameters are those it starts with.
      optimizer: the optimizer.
      theta: its meta-parameters.
      config: settings; those of Adam have no meaning here.
      longest_steps: see `drift_candidates`.
    """
    both = PPOTheta(rule.init(jax.random.key(0)), theta)
    shared, longest = _longest(config, longest_steps)
    learner = PPO(env, shared, rule, optimizer)
    return Candidate(learner, config.updates, config.batch_size, both, asdict(config), longest)


def _longest(config: PPOConfig, steps: int) -> tuple[PPOConfig, int]:
    """Settings of the longest lifetime of a program, and its updates."""
    longest = max(config.updates, steps // config.batch_size)
    return replace(config, total_steps=longest * config.batch_size), longest


def groups(candidates: Mapping[str, Candidate]) -> list[dict[str, Candidate]]:
    """Splits candidates into those that share a learner, in the order of their first members."""
    found: dict[Learner, dict[str, Candidate]] = {}
    for name, candidate in candidates.items():
        found.setdefault(candidate.learner, {})[name] = candidate
    return list(found.values())


def stacked_thetas(group: Mapping[str, Candidate]) -> Theta:
    """Meta-parameters of a group, leaves `[candidates, ...]`."""
    return jax.tree.map(lambda *x: jnp.stack(x), *(entry.theta for entry in group.values()))
