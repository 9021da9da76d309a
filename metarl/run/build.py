"""From a config to the objects it describes, and to one compiled outer loop."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from metarl import envs
from metarl.core.contracts import Evaluation, Unroll
from metarl.core.errors import ConfigError, check_choice
from metarl.core.keys import named, split_named
from metarl.core.mesh import Layout, make_mesh, on_mesh
from metarl.core.types import Array, Key, PyTree, Theta
from metarl.envs.protocol import Environment
from metarl.estimators.full_es import FullES
from metarl.estimators.population import evaluate
from metarl.inner.ppo import PPO
from metarl.inner.ppo_config import PPOConfig
from metarl.inner.scores import MeanReturnLoss
from metarl.networks.actor_critic import observation_example
from metarl.outer.evosax import UNUSABLE, EvosaxMetaOptimizer, strategies
from metarl.outer.gradient import GradientMetaOptimizer
from metarl.outer.protocol import MetaLog, MetaOptimizer
from metarl.rules import library
from metarl.rules.learned_drift import learned_drift
from metarl.rules.protocol import Rule
from metarl.run.config import EvolveRuleConfig
from metarl.run.settings import settings_for
from metarl.tasks.environments import FixedTask

_GRADIENT_RULES: dict[str, Callable[..., optax.GradientTransformation]] = {
    "adam": optax.adam,
    "sgd": optax.sgd,
}


@dataclass(frozen=True)
class Comparison:
    """One environment on which the result is compared with hand-made rules.

    Attributes:
      env: the environment.
      learner: settings of every rule's learner there.
      held_out: whether it is none of those of evolution.
    """

    env: Environment
    learner: PPOConfig
    held_out: bool


@dataclass(frozen=True)
class Evolution:
    """A built experiment.

    Attributes:
      config: what it was built from.
      rule: the rule that evolves.
      hand_made: name -> rule to stand beside it.
      comparisons: where they are compared, the environments of evolution first.
      meta: the outer optimizer.
      layout: devices and chunks.
      mesh: the devices.
      init: `key -> state` of the outer loop, compiled.
      advance: `(key, state, generations [n]) -> (state, logs [n, ...])`, compiled; donates `state`.
    """

    config: EvolveRuleConfig
    rule: Rule
    hand_made: dict[str, Rule]
    comparisons: tuple[Comparison, ...]
    meta: MetaOptimizer
    layout: Layout
    mesh: Mesh
    init: Callable[[Key], PyTree]
    advance: Callable[[Key, PyTree, Array], tuple[PyTree, MetaLog]]

    @property
    def key(self) -> Key:
        """The run's root key."""
        return jax.random.key(self.config.seed)

    def theta_start(self) -> Theta:
        """Theta before any evolution."""
        return self.rule.init(named(self.key, "theta"))

    def place(self, state: PyTree) -> PyTree:
        """Puts a state from the disk where `init` and `advance` leave theirs.

        Laid out otherwise, it would be another argument type: `advance` would compile again.
        """
        return jax.device_put(state, NamedSharding(self.mesh, PartitionSpec()))


def build(config: EvolveRuleConfig) -> Evolution:
    """Builds an experiment; what only its last part will need is made and checked here too.

    Raises:
      ConfigError: an unknown environment, rule or strategy, settings that do not fit an
        environment, or more devices than there are.
      ArtifactError: a rule to compare with is not there, or altered.
    """
    layout = _layout(config)
    rule = learned_drift(config.rule)
    comparisons = _comparisons(config)
    trained_on = [comparison.env for comparison in comparisons if not comparison.held_out]
    unrolls = tuple(_unroll(env, rule, config) for env in trained_on)
    meta = _meta_optimizer(config, unrolls, layout)
    mesh = make_mesh(layout.devices)

    def init(key: Key) -> PyTree:
        key_theta, key_outer = split_named(key, "theta", "outer")
        return meta.init(key_outer, rule.init(key_theta))

    def advance(key: Key, state: PyTree, generations: Array) -> tuple[PyTree, MetaLog]:
        def generation(state: PyTree, number: Array) -> tuple[PyTree, MetaLog]:
            return meta.step(jax.random.fold_in(named(key, "generation"), number), state)

        return jax.lax.scan(generation, state, generations)

    return Evolution(
        config=config,
        rule=rule,
        hand_made={name: library.by_name(name) for name in config.evaluation.rules},
        comparisons=comparisons,
        meta=meta,
        layout=layout,
        mesh=mesh,
        init=on_mesh(init, mesh),
        advance=on_mesh(advance, mesh, donate=(1,)),
    )


def _layout(config: EvolveRuleConfig) -> Layout:
    present = len(jax.devices())
    wanted = config.loop.devices or present
    if wanted > present:
        raise ConfigError(f"loop.devices={wanted}, but this machine shows {present} to jax.")
    return Layout(min(wanted, config.lifetimes // len(config.task.envs)), config.loop.chunk)


def _comparisons(config: EvolveRuleConfig) -> tuple[Comparison, ...]:
    seen = [Comparison(envs.make(name), config.learner, False) for name in config.task.envs]
    unseen = [
        Comparison(envs.make(name), _held_out_settings(name, config), True)
        for name in config.evaluation.envs
        if name not in config.task.envs
    ]
    return (*seen, *unseen)


def _held_out_settings(env: str, config: EvolveRuleConfig) -> PPOConfig:
    settings = config.learner if config.evaluation.learner == "same" else settings_for(env)
    steps = config.evaluation.steps
    try:
        return settings if steps is None else replace(settings, total_steps=steps)
    except ConfigError as error:
        raise ConfigError(f"evaluation.steps={steps} does not do for {env}: {error}") from None


def _unroll(env: Environment, rule: Rule, config: EvolveRuleConfig) -> Unroll:
    learner = PPO(env, config.learner, rule)
    # Refuses networks that do not fit the observations.
    example = observation_example(env.observation_space.shape)
    jax.eval_shape(learner.network.init, jax.random.key(0), example)
    loss = MeanReturnLoss(config.task.window)
    return Unroll(FixedTask(env.default_params), learner, config.learner.updates, loss)


def _meta_optimizer(
    config: EvolveRuleConfig, unrolls: tuple[Unroll, ...], layout: Layout
) -> MetaOptimizer:
    outer = config.outer
    if outer.strategy in _GRADIENT_RULES:
        rate = optax.exponential_decay(outer.learning_rate, 1, outer.decay)
        tx = _GRADIENT_RULES[outer.strategy](rate)
        return GradientMetaOptimizer(FullES(config.es, unrolls, layout), tx)
    if outer.strategy not in UNUSABLE:  # which are refused below, with the reason
        check_choice("outer.strategy", outer.strategy, {*_GRADIENT_RULES, *strategies()})
    return EvosaxMetaOptimizer(
        outer.strategy, config.es.population, partial(_score, config, unrolls, layout)
    )


def _score(
    config: EvolveRuleConfig, unrolls: tuple[Unroll, ...], layout: Layout, key: Key, thetas: Any
) -> Evaluation:
    """Scores an explicit population, `thetas [P, ...]`, on common random numbers."""

    def member(number: Array) -> Theta:
        return jax.tree.map(lambda x: jnp.take(x, number, axis=0), thetas)

    return evaluate(
        unrolls,
        layout,
        member,
        config.es.population,
        key,
        common_random_numbers="population",
        tasks=config.es.tasks,
        seeds=config.es.seeds,
    )
