"""Who is compared: agents of any kind, ready to live on an environment."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import jax
import jax.numpy as jnp

from metarl.core.contracts import Learner
from metarl.core.types import Task, Theta
from metarl.envs.protocol import Environment, EnvParams
from metarl.inner.ppo import PPO, PPOTheta
from metarl.inner.ppo_config import PPOConfig
from metarl.inner.rule_agent import RuleAgent
from metarl.inner.rule_agent_config import RuleAgentConfig
from metarl.optimizers.protocol import InnerOptimizer
from metarl.rules.bank import BankTheta, bank
from metarl.rules.protocol import Rule
from metarl.rules.update_rule import UpdateRule
from metarl.tasks.lifetimes import TimedTask


@dataclass(frozen=True, eq=False)
class Contender:
    """An agent and the life that it is to live.

    Contenders that share a learner, the same object, share one compiled program.

    Attributes:
      learner: how it lives; its logs are `metarl.inner.scores.EpisodeLog`s.
      updates: K, inner steps of its life.
      batch_size: environment steps of each.
      theta: its meta-parameters; `()` for one that is written down.
      settings: of the learner, for people to see.
      task: `parameters of the environment -> task of the learner`.
    """

    learner: Learner
    updates: int
    batch_size: int
    theta: Theta = ()
    settings: dict[str, Any] = field(default_factory=dict)
    task: Callable[[EnvParams], Task] = lambda params: params


@dataclass(frozen=True)
class DriftEntry:
    """A drift with its meta-parameters; `()` for one that is written down."""

    rule: Rule
    theta: Theta = ()


def drift_contenders(
    env: Environment, drifts: Mapping[str, DriftEntry], config: PPOConfig
) -> dict[str, Contender]:
    """Actor-critics with equal settings, each with its drift, in one compiled program.

    Args:
      env: unbatched environment, without autoreset.
      drifts: name -> drift.
      config: settings of every actor-critic.
    """
    learner = PPO(env, config, bank([entry.rule for entry in drifts.values()]))
    thetas = tuple(entry.theta for entry in drifts.values())
    return {
        name: Contender(
            learner,
            config.updates,
            config.batch_size,
            BankTheta(jnp.int32(number), thetas),
            asdict(config),
        )
        for number, name in enumerate(drifts)
    }


def rule_contender(
    env: Environment, rule: UpdateRule, theta: Theta, config: RuleAgentConfig, **parts: Any
) -> Contender:
    """An agent that lives with an update rule.

    Args:
      env: unbatched environment, without autoreset.
      rule: the update rule.
      theta: its meta-parameters.
      config: settings of the agent; `updates` is its lifetime.
      **parts: further fields of `RuleAgent`.
    """
    agent = RuleAgent(env, config, rule, **parts)
    return Contender(
        agent,
        config.updates,
        config.batch_size,
        theta,
        asdict(config),
        lambda params: TimedTask(params, jnp.int32(config.updates)),
    )


def optimizer_contender(
    env: Environment, rule: Rule, optimizer: InnerOptimizer, theta: Theta, config: PPOConfig
) -> Contender:
    """An actor-critic whose gradients go through an optimizer of its own.

    Args:
      env: unbatched environment, without autoreset.
      rule: the drift; its meta-parameters are those it starts with.
      optimizer: the optimizer.
      theta: its meta-parameters.
      config: settings; those of Adam have no meaning here.
    """
    both = PPOTheta(rule.init(jax.random.key(0)), theta)
    learner = PPO(env, config, rule, optimizer)
    return Contender(learner, config.updates, config.batch_size, both, asdict(config))


def groups(contenders: Mapping[str, Contender]) -> list[dict[str, Contender]]:
    """Splits contenders into those that share a learner, in the order of their first members."""
    found: dict[int, dict[str, Contender]] = {}
    for name, contender in contenders.items():
        found.setdefault(id(contender.learner), {})[name] = contender
    return list(found.values())


def stacked_thetas(group: Mapping[str, Contender]) -> Theta:
    """Meta-parameters of a group, leaves `[contenders, ...]`."""
    return jax.tree.map(lambda *x: jnp.stack(x), *(entry.theta for entry in group.values()))
