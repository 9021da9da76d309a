"""The problem of meta-training an update rule (LPG, TA-LPG), on uniform or curated levels."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from metarl import envs
from metarl.core.contracts import Curriculum, Truncation, Unroll
from metarl.core.errors import ConfigError
from metarl.core.keys import named
from metarl.core.mesh import Layout
from metarl.core.types import Array, PyTree, Theta
from metarl.envs.protocol import Environment, EnvParams
from metarl.estimators.truncated_backprop import TruncatedBackprop
from metarl.estimators.truncated_unrolls import TruncatedUnrollState
from metarl.evaluation.candidates import Candidate, rule_candidate
from metarl.evaluation.report import Picture
from metarl.inner.level_scoring import (
    TRAJECTORY_SCORES,
    LevelScore,
    OptimalRegret,
    Regret,
    TrajectoryScore,
)
from metarl.inner.meta_agent import MetaAgent
from metarl.inner.rule_agent import RuleAgent
from metarl.inner.rule_agent_config import RuleAgentConfig
from metarl.inner.scores import MeanReturnLoss
from metarl.outer.gradient import GradientMetaOptimizer
from metarl.outer.protocol import MetaOptimizer
from metarl.problems.agent_settings import agent_settings_for, baseline_settings_for, settings_for
from metarl.problems.agents import by_name, make_agents
from metarl.problems.algorithms import AgentComparison, Algorithm, Settings
from metarl.problems.outer import es_meta_optimizer, gradient_rule
from metarl.problems.protocol import LEARNED, START, Problem, horizon_name
from metarl.problems.update_rule.config import SCORES, TrainUpdateRuleConfig
from metarl.problems.update_rule.level_reports import curriculum_picture, level_pictures, observe
from metarl.problems.update_rule.schedule import schedule_picture
from metarl.rules import lpg_registry
from metarl.rules.a2c import a2c
from metarl.rules.lpg import lpg
from metarl.rules.update_rule import UpdateRule
from metarl.tasks.curricula.level_replay import LevelReplay
from metarl.tasks.curricula.uniform import Uniform
from metarl.tasks.lifetimes import Lifetimes, TimedTask


def update_rule_problem(config: TrainUpdateRuleConfig, layout: Layout) -> Problem:
    """Builds the problem; what only its last part will need is made and checked here too.

    Raises:
      ConfigError: an unknown environment, rule or score, or one that has no oracle there.
    """
    rule = lpg(config.rule)
    env = envs.make(config.levels.env)
    agent = RuleAgent(env, replace(config.agent, updates=config.levels.lifetime[1]), rule)
    # Refuses networks that do not fit the observations.
    space = env.observation_space
    example = jnp.zeros(space.shape, space.dtype)
    jax.eval_shape(agent.network.init, jax.random.key(0), example)
    tasks = Lifetimes(env, *config.levels.lifetime)
    curriculum = _curriculum(config, tasks)
    if config.method == "es":
        length = config.levels.lifetime[1]
        unroll = Unroll(tasks, agent, length, MeanReturnLoss(config.levels.window))
        meta = es_meta_optimizer(config.es, config.outer, (unroll,), layout)
    else:
        meta = _meta_gradient(config, agent, curriculum, layout)
    return Problem(
        init=rule.init,
        meta=meta,
        comparisons=_comparisons(config, env, rule),
        artifact_kind="update rule",
        description="it replaces the loss of an agent with a policy and a categorical prediction",
        save=lambda path, theta, card: lpg_registry.save(path, theta, config.rule, card),
        example_command="metarl eval {path} ppo a2c --env gymnax/CartPole-v1",
        example_code="from metarl.rules import lpg_registry\n"
        "rule = lpg_registry.load({path!r}).rule  # an UpdateRule for metarl.inner.rule_agent",
        pictures=partial(_pictures, config, agent, tasks),
        observe=partial(_observe, curriculum),
        fitness="reward" if config.method == "backprop" else None,
    )


def _pictures(
    config: TrainUpdateRuleConfig,
    agent: RuleAgent,
    tasks: Lifetimes,
    theta: Theta,
    rows: list[dict[str, Any]],
) -> dict[str, Picture]:
    key = named(jax.random.key(config.seed), "pictures")
    moved = curriculum_picture(rows, config.curriculum.score)
    schedule = {} if config.rule.clock == "none" else schedule_picture(agent, tasks, key, theta)
    return schedule | level_pictures(agent, tasks, key, theta) | moved


def _observe(curriculum: Curriculum, state: PyTree) -> dict[str, Any]:
    estimator_state = getattr(state, "estimator_state", ())
    if not isinstance(estimator_state, TruncatedUnrollState):
        return {}
    return observe(curriculum, estimator_state.curriculum)


def _meta_gradient(
    config: TrainUpdateRuleConfig, agent: RuleAgent, curriculum: Curriculum, layout: Layout
) -> MetaOptimizer:
    meta_agent = MetaAgent(agent, config.backprop.objective)
    truncation = Truncation(
        learner=meta_agent,
        length=config.backprop.truncation,
        lifetime=_lifetime,
        meta_loss=meta_agent.meta_loss,
    )
    replay = config.curriculum.kind == "replay"
    score = _score(config, meta_agent) if replay else None
    estimator = TruncatedBackprop(config.backprop.unrolls, truncation, curriculum, layout, score)
    return GradientMetaOptimizer(estimator, gradient_rule(config.outer))


def _curriculum(config: TrainUpdateRuleConfig, tasks: Lifetimes) -> Curriculum:
    if config.curriculum.kind == "uniform":
        return Uniform(tasks)
    replay = LevelReplay(config.curriculum.replay, tasks)
    replay.check_capacity(config.backprop.unrolls.num_parallel)
    return replay


def _lifetime(task: TimedTask) -> Array:
    return task.lifetime


def _score(config: TrainUpdateRuleConfig, agent: MetaAgent) -> LevelScore:
    """Makes the score by which levels are replayed."""
    name, env = config.curriculum.score, agent.agent.env
    steps = config.curriculum.score_steps
    if name == "regret":
        tuned = baseline_settings_for(env, agent.agent.config)
        baseline = RuleAgent(env, tuned, a2c())
        return Regret(agent, baseline, steps)
    if name == "optimal_regret":
        return OptimalRegret(agent, _oracle(env), steps)
    return TrajectoryScore(agent, TRAJECTORY_SCORES[name], steps)


def _oracle(env: Environment) -> Callable[[EnvParams], Array]:
    if env.optimal_return is None:
        others = ", ".join(name for name in SCORES if name != "optimal_regret")
        raise ConfigError(
            "curriculum.score='optimal_regret' needs an oracle of optimal returns, and "
            f"{env.name} has none. Permitted there: {others}."
        )
    return env.optimal_return


def _comparisons(
    config: TrainUpdateRuleConfig, seen: Environment, rule: UpdateRule
) -> tuple[AgentComparison, ...]:
    """On fresh levels of training, and on environments that the rule never saw."""
    own = replace(config.agent, updates=config.levels.lifetime[1])
    entries = [(seen.name, seen, own, False)]
    for horizon in config.evaluation.horizons:
        if horizon != 1.0:
            entries.append((horizon_name(seen.name, horizon), seen, own.stretched(horizon), True))
    for name in config.evaluation.envs:
        if name != seen.name:
            env = envs.make(name)
            entries.append((name, env, _held_out_settings(config, env), True))
    baselines = {name: by_name(name) for name in config.evaluation.rules}
    longest = max(entry[2].updates * entry[2].batch_size for entry in entries if entry[1] is seen)
    return tuple(
        AgentComparison(
            name,
            env,
            held_out,
            _candidates(env, settings, longest if env is seen else 0, rule, baselines),
            config.evaluation.seeds,
        )
        for name, env, settings, held_out in entries
    )


def _held_out_settings(config: TrainUpdateRuleConfig, env: Environment) -> RuleAgentConfig:
    same = config.evaluation.learner == "same"
    settings = config.agent if same else agent_settings_for(env)
    if config.evaluation.steps is None:
        return settings
    return replace(settings, updates=max(1, config.evaluation.steps // settings.batch_size))


def _candidates(
    env: Environment,
    settings: RuleAgentConfig,
    longest_steps: int,
    rule: UpdateRule,
    baselines: dict[str, Algorithm],
) -> Callable[[Theta, Theta], dict[str, Candidate]]:
    """Refuses agents that do not fit the environment now, and not after training."""
    learned = rule_candidate(env, rule, (), settings, longest_steps)
    learner = settings_for(env.name)
    steps = max(learner.batch_size, settings.updates * settings.batch_size)
    tuned = Settings(
        replace(learner, total_steps=steps),
        settings,
        baseline_settings_for(env, settings),
        longest_learner_steps=longest_steps,
        longest_agent_steps=longest_steps,
    )
    others = make_agents(env, baselines, dict.fromkeys(baselines, tuned))

    def beside(theta: Theta, start: Theta) -> dict[str, Candidate]:
        both = {LEARNED: replace(learned, theta=theta), START: replace(learned, theta=start)}
        return both | others

    return beside
