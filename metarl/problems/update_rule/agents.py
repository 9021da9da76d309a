"""Agents with an update rule, as algorithms of `metarl eval`."""

from dataclasses import dataclass
from functools import partial

import jax

from metarl.core.errors import ConfigError
from metarl.core.types import Theta
from metarl.envs.protocol import Environment
from metarl.envs.spaces import Discrete
from metarl.evaluation.candidates import Candidate, rule_candidate
from metarl.networks.action_model import ActionModelConfig, AgentNetwork
from metarl.networks.heads import Shapes
from metarl.problems.algorithms import AgentNames, Algorithm, Settings
from metarl.rules import disco, lpg_registry
from metarl.rules.a2c import a2c
from metarl.rules.update_rule import UpdateRule


@dataclass(frozen=True)
class RuleAlgorithm(Algorithm):
    """An agent with an update rule."""

    rule: UpdateRule
    theta: Theta

    def agent(self, env: Environment, settings: Settings) -> Candidate:
        """Makes an agent for an environment."""
        return rule_candidate(
            env, self.rule, self.theta, settings.agent, settings.longest_agent_steps
        )


@dataclass(frozen=True)
class BaselineAlgorithm(Algorithm):
    """An agent with a handcrafted update rule, which has settings of its own."""

    rule: UpdateRule

    def agent(self, env: Environment, settings: Settings) -> Candidate:
        """Makes an agent for an environment."""
        theta = self.rule.init(jax.random.key(0))
        return rule_candidate(
            env, self.rule, theta, settings.baseline, settings.longest_agent_steps
        )


@dataclass(frozen=True)
class DiscoAlgorithm(Algorithm):
    """An agent with DiscoRL's update rule, network and optimizer, which belong together."""

    rule: UpdateRule
    theta: Theta

    def agent(self, env: Environment, settings: Settings) -> Candidate:
        """Makes an agent for an environment; takes its lifetime and batch from the settings."""
        if isinstance(env.observation_space, Discrete):
            raise ConfigError(f"disco needs observations that are arrays; {env.name} has numbers.")
        rank = len(env.observation_space.shape)
        return rule_candidate(
            env,
            self.rule,
            self.theta,
            settings.agent,
            settings.longest_agent_steps,
            make_network=partial(_action_model, rank),
            tx=disco.disco_descent(settings.agent.learning_rate),
        )


def _action_model(rank: int, outputs: Shapes) -> AgentNetwork:
    return AgentNetwork(ActionModelConfig(), outputs, rank)


def _load(name: str) -> RuleAlgorithm:
    rule = lpg_registry.load(name).rule
    return RuleAlgorithm(rule, rule.init(jax.random.key(0)))


def _disco(path: str) -> DiscoAlgorithm:
    rule = disco.load(path).rule
    return DiscoAlgorithm(rule, rule.init(jax.random.key(0)))


def _a2c() -> BaselineAlgorithm:
    return BaselineAlgorithm(a2c())


AGENTS = AgentNames(
    kind=lpg_registry.KIND,
    load=_load,
    pretrained=lpg_registry.pretrained,
    handcrafted={"a2c": _a2c},
    external={"disco": _disco},
)
