"""The outer optimizer of a config: a rule on an estimated gradient, or a strategy of evosax."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax

from metarl.core.contracts import Evaluation, Unroll
from metarl.core.errors import ConfigError, check_choice
from metarl.core.mesh import Layout
from metarl.core.types import Array, Key, Theta
from metarl.estimators.full_es import FullES, FullESConfig
from metarl.estimators.population import evaluate
from metarl.outer.evosax import EvosaxMetaOptimizer
from metarl.outer.gradient import GradientMetaOptimizer
from metarl.outer.protocol import MetaOptimizer
from metarl.outer.strategies import (
    ALWAYS_ANTITHETIC,
    ANTITHETIC,
    UNUSABLE,
    settings_taken,
    strategies,
)
from metarl.problems.config import OuterConfig

_GRADIENT_RULES: dict[str, Callable[..., optax.GradientTransformation]] = {
    "adam": optax.adam,
    "sgd": optax.sgd,
}

LEARNING_RATE = 0.02
"""Of adam and sgd, where the config names none."""


def gradient_rule(outer: OuterConfig) -> optax.GradientTransformation:
    """Makes what moves theta along a gradient.

    Raises:
      ConfigError: `outer.optimizer` is none of those that do.
    """
    check_choice("outer.optimizer on a gradient", outer.optimizer, _GRADIENT_RULES)
    descent = _GRADIENT_RULES[outer.optimizer](learning_rate(outer))
    if outer.max_grad_norm is None:
        return descent
    return optax.chain(optax.clip_by_global_norm(outer.max_grad_norm), descent)


def learning_rate(outer: OuterConfig) -> optax.Schedule:
    """The learning rate of adam and sgd, by the number of generations so far."""
    rate = optax.exponential_decay(outer.learning_rate or LEARNING_RATE, 1, outer.decay)
    if outer.warm_up == 0 and outer.cosine_to is None:
        return rate
    rise = optax.linear_schedule(0.0, 1.0, outer.warm_up) if outer.warm_up else None
    left = max(1, outer.generations - outer.warm_up)
    fall = (
        None if outer.cosine_to is None else optax.cosine_decay_schedule(1.0, left, outer.cosine_to)
    )

    def schedule(count: Array) -> Array:
        # The first step is taken, at least a little.
        risen = 1.0 if rise is None else rise(count + 1)
        fallen = 1.0 if fall is None else fall(jnp.maximum(count - outer.warm_up, 0))
        return jnp.asarray(rate(count) * risen * fallen)

    return schedule


def es_meta_optimizer(
    es: FullESConfig, outer: OuterConfig, unrolls: tuple[Unroll, ...], layout: Layout
) -> MetaOptimizer:
    """Makes what evolves theta, by estimated gradients or by a strategy that samples for itself.

    Args:
      es: the population.
      outer: how theta moves.
      unrolls: the lifetimes that score a theta, one for each environment.
      layout: how they are laid over devices and chunks.

    Raises:
      ConfigError: an unknown strategy, or a setting that it would ignore.
    """
    if outer.optimizer in _GRADIENT_RULES:
        return GradientMetaOptimizer(FullES(es, unrolls, layout), gradient_rule(outer))
    if outer.optimizer not in UNUSABLE:  # which are refused below, with the reason
        check_choice("outer.optimizer", outer.optimizer, {*_GRADIENT_RULES, *strategies()})
    taken = settings_taken(outer.optimizer)
    _refuse_ignored(es, outer, taken, len(unrolls))
    return EvosaxMetaOptimizer(
        outer.optimizer,
        es.population,
        partial(_score, es, unrolls, layout),
        std=es.sigma if "std" in taken else None,
        learning_rate=outer.learning_rate,
        decay=outer.decay,
        shaping=es.shaping,
        options={ANTITHETIC: es.antithetic} if ANTITHETIC in taken else {},
    )


def _refuse_ignored(
    es: FullESConfig, outer: OuterConfig, taken: frozenset[str], unrolls: int
) -> None:
    """Refuses what the evosax strategy has no use for, unless it has its default value."""
    name = outer.optimizer
    ignored = {
        "es.sigma": ("std" not in taken, f"{name} has no spread to set"),
        "es.antithetic": (name in ALWAYS_ANTITHETIC, f"{name} always samples in pairs"),
        "es.shaping": (unrolls == 1, f"{name} shapes the losses of a single environment itself"),
        "es.clip": (True, f"{name} ranks or scales losses itself"),
        "outer.learning_rate": ("learning_rate" not in taken, f"{name} sets its own step sizes"),
        "outer.max_grad_norm": (True, f"{name} has no gradient of ours"),
        "outer.warm_up": (True, f"{name} has no learning rate that rises"),
        "outer.cosine_to": (True, f"{name} has no learning rate that falls so"),
        "outer.decay": (outer.learning_rate is None, "it is a factor on outer.learning_rate=None"),
    }
    given = {"es": (es, FullESConfig()), "outer": (outer, OuterConfig())}
    for setting, (is_ignored, reason) in ignored.items():
        section, field = setting.split(".")
        value, default = (getattr(entry, field) for entry in given[section])
        if is_ignored and value != default:
            raise ConfigError(
                f"{setting}={value} would be ignored: {reason}. Leave it at {default}, or take "
                "adam or sgd as outer.optimizer."
            )


def _score(
    es: FullESConfig, unrolls: tuple[Unroll, ...], layout: Layout, key: Key, thetas: Any
) -> Evaluation:
    """Scores an explicit population, `thetas [P, ...]`."""

    def member(number: Array) -> Theta:
        return jax.tree.map(lambda x: jnp.take(x, number, axis=0), thetas)

    # A strategy's pairs, if it has any, do not stand side by side.
    pairs = es.common_random_numbers == "pair"
    return evaluate(
        unrolls,
        layout,
        member,
        es.population,
        key,
        common_random_numbers="population" if pairs else es.common_random_numbers,
        tasks=es.tasks,
        seeds=es.seeds,
    )
