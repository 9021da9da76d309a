"""The problem of evolving a drift function (LPO, TA-LPO)."""

from dataclasses import replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from metarl import envs
from metarl.core.contracts import Unroll
from metarl.core.errors import ConfigError
from metarl.core.mesh import Layout
from metarl.core.types import Theta
from metarl.envs.protocol import Environment
from metarl.evaluation.candidates import Candidate, DriftEntry, drift_candidates
from metarl.evaluation.report import Picture
from metarl.inner.ppo import PPO
from metarl.inner.ppo_config import PPOConfig
from metarl.inner.scores import MeanReturnLoss
from metarl.networks.actor_critic import observation_example
from metarl.problems.agent_settings import settings_for
from metarl.problems.algorithms import AgentComparison
from metarl.problems.drift.config import EvolveRuleConfig
from metarl.problems.drift.figure import describe_drift, drift_figure
from metarl.problems.drift.plane import DriftGrid, drift_grid
from metarl.problems.outer import es_meta_optimizer
from metarl.problems.protocol import LEARNED, START, Problem, horizon_name
from metarl.rules import registry as drift_registry
from metarl.rules.learned_drift import learned_drift
from metarl.rules.protocol import Drift


def drift_problem(config: EvolveRuleConfig, layout: Layout) -> Problem:
    """Builds the problem; what only its last part will need is made and checked here too.

    Raises:
      ConfigError: an unknown environment, rule or strategy, or settings that do not fit.
      ArtifactError: a rule to compare with is not there, or altered.
    """
    rule = learned_drift(config.rule)
    baselines = {name: drift_registry.by_name(name) for name in config.evaluation.rules}
    seen = [envs.make(name) for name in config.task.envs]
    unrolls = tuple(_unroll(env, rule, config) for env in seen)
    return Problem(
        init=rule.init,
        meta=es_meta_optimizer(config.es, config.outer, unrolls, layout),
        comparisons=_comparisons(config, seen, rule, baselines),
        artifact_kind="drift function",
        description="subtract it from ratio * advantage in a policy-gradient surrogate",
        save=lambda path, theta, card: drift_registry.save(path, theta, config.rule, card),
        pictures=partial(_pictures, config, rule, baselines),
        example_command="metarl eval {path} ppo a2c --env gymnax/CartPole-v1",
        example_code="from metarl import rules\ndrift = rules.load({path!r})\n"
        + (
            "drift(ratio, advantage, progress)"
            if config.rule.temporal
            else "drift(ratio, advantage)"
        ),
    )


def _unroll(env: Environment, rule: Drift, config: EvolveRuleConfig) -> Unroll:
    learner = PPO(env, config.learner, rule)
    # Refuses networks that do not fit the observations.
    example = observation_example(env.observation_space.shape)
    jax.eval_shape(learner.network.init, jax.random.key(0), example)
    return Unroll(env, learner, config.learner.updates, MeanReturnLoss(config.task.window))


def _comparisons(
    config: EvolveRuleConfig, seen: list[Environment], rule: Drift, baselines: dict[str, Drift]
) -> tuple[AgentComparison, ...]:
    evaluation = config.evaluation
    unseen = [envs.make(name) for name in evaluation.envs if name not in config.task.envs]
    found = []
    for env in (*seen, *unseen):
        held_out = env not in seen
        settings = _held_out_settings(env.name, config) if held_out else config.learner
        horizons = (1.0, *(h for h in evaluation.horizons if h != 1.0))
        stretched = [settings.stretched(horizon) for horizon in horizons]
        longest = max(learner.updates * learner.batch_size for learner in stretched)
        for horizon, learner in zip(horizons, stretched, strict=True):
            name = horizon_name(env.name, horizon)
            candidates = partial(_candidates, env, learner, longest, rule, baselines)
            unseen_here = held_out or horizon != 1.0
            found.append(AgentComparison(name, env, unseen_here, candidates, evaluation.seeds))
    return tuple(found)


def _held_out_settings(env: str, config: EvolveRuleConfig) -> PPOConfig:
    settings = config.learner if config.evaluation.learner == "same" else settings_for(env)
    steps = config.evaluation.steps
    try:
        return settings if steps is None else replace(settings, total_steps=steps)
    except ConfigError as error:
        raise ConfigError(f"evaluation.steps={steps} does not do for {env}: {error}") from None


def _candidates(
    env: Environment,
    learner: PPOConfig,
    longest: int,
    rule: Drift,
    baselines: dict[str, Drift],
    theta: Theta,
    start: Theta,
) -> dict[str, Candidate]:
    written = {name: DriftEntry(drift, _own_theta(drift)) for name, drift in baselines.items()}
    entries = {LEARNED: DriftEntry(rule, theta), START: DriftEntry(rule, start), **written}
    return drift_candidates(env, entries, learner, longest)


def _own_theta(rule: Drift) -> Theta:
    return rule.init(jax.random.key(0))


def _pictures(
    config: EvolveRuleConfig,
    rule: Drift,
    baselines: dict[str, Drift],
    theta: Theta,
    rows: list[dict[str, Any]],
) -> dict[str, Picture]:
    """The learned drift, at three ages if it is temporal, and the handcrafted ones."""
    del rows
    ages = {f"{LEARNED} at {age:g}": age for age in (0.0, 0.5, 1.0)}
    learned = [
        _grid(name, rule, theta, age)
        for name, age in (ages if config.rule.temporal else {LEARNED: 0.0}).items()
    ]
    others = [_grid(name, drift, _own_theta(drift), 0.0) for name, drift in baselines.items()]
    return {
        "drift": Picture(
            drift_figure([*learned, *others]),
            "Drift over ratio and advantage",
            "The learner maximizes ratio × advantage − drift. "
            "Top: the drift at four advantages. Middle: the gradient that is left; where it is "
            "zero the update stops, where its sign is opposite to the advantage's the ratio is "
            "pulled back. Bottom: the whole plane.",
            tuple(describe_drift(grid, others) for grid in learned),
        )
    }


def _grid(name: str, rule: Drift, theta: Theta, age: float) -> DriftGrid:
    return drift_grid(name, lambda r, a: rule.apply(theta, r, a, jnp.float32(age)))
