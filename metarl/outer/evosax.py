"""Meta-optimizers of the evosax library, by the strategy's name.

evosax is imported when a strategy is constructed, because importing it is slow.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from metarl.core.contracts import Evaluation
from metarl.core.dtypes import cast_like, strongly_typed
from metarl.core.errors import ConfigError, check_choice, check_positive, check_range
from metarl.core.keys import named, split_named
from metarl.core.shaping import replace_diverged, shaped_mean
from metarl.core.trees import all_finite, normal_like, where
from metarl.core.types import Array, Key, PyTree, Theta
from metarl.outer.protocol import MetaLog
from metarl.outer.strategies import (
    argument_names,
    has_mean,
    parameter_names,
    settings_taken,
    std_init,
    strategy_class,
)

SHAPINGS = ("centered_rank", "none", "z_score")
"""Shapings that do not depend on which members form a pair."""


class EvosaxState(NamedTuple):
    """State of the outer loop.

    Attributes:
      theta: current theta, the mean or the best member of the strategy.
      strategy: state of the strategy.
    """

    theta: Theta
    strategy: PyTree


@dataclass(frozen=True)
class EvosaxMetaOptimizer:
    """Meta-optimizer that runs an ask/tell strategy of evosax.

    A distribution-based strategy starts at theta and returns its mean. A population-based strategy
    starts from theta and Gaussian perturbations of it, and returns its best member.

    Attributes:
      strategy: strategy name of evosax, such as `Open_ES`, `SNES`, `CMA_ES`, `PGPE`, `SimpleGA`.
      population: P, number of members of a generation.
      evaluate: function `(key, thetas [P, ...]) -> Evaluation`, or losses `[P]`; lower is better.
      std: initial standard deviation of the search; None = the strategy's default (1 for the
        initial population).
      learning_rate: learning rate of Adam on the mean, for strategies that take an optimizer;
        None = the strategy's default.
      decay: factor on `learning_rate` after every generation.
      shaping: fitness shaping of each unroll's losses before their mean is passed to the strategy,
        a name of `SHAPINGS`. The losses of a single unroll are passed unchanged: strategies shape
        fitness themselves, and those that keep their best member compare over generations.
      options: further arguments of the strategy's constructor, or fields of its parameters.

    Raises:
      ConfigError: the strategy or an option is unknown, or the strategy does not take an option.
    """

    strategy: str
    population: int
    evaluate: Callable[[Key, PyTree], Evaluation | Array]
    std: float | None = None
    learning_rate: float | None = None
    decay: float = 1.0
    shaping: str = "centered_rank"
    options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        strategy_class(self.strategy)
        check_choice("shaping", self.shaping, SHAPINGS)
        check_range(1e-6, 1.0, decay=self.decay)
        check_positive(population=self.population, std=self.std, learning_rate=self.learning_rate)
        # Raises errors of bad settings here and not while compiling. The dimension exceeds what any
        # option is likely to require.
        self._make(jnp.zeros(4096))

    def init(self, key: Key, theta: Theta) -> EvosaxState:
        """Returns the initial state at `theta`; evaluates the initial population, if any."""
        theta = strongly_typed(theta)
        strategy, params = self._make(theta)
        key_init, key_start, key_evaluate = split_named(key, "init", "start", "evaluate")
        if has_mean(strategy):
            start: tuple[PyTree, ...] = (theta,)
        else:
            members = self._first_population(key_start, theta)
            fitness, _, _ = self._score(key_evaluate, members)
            start = (members, fitness)
        with jax.numpy_rank_promotion("allow"):
            state = strategy.init(key_init, *start, params)
        return strongly_typed(EvosaxState(_representative(strategy, state), state))

    def step(self, key: Key, state: EvosaxState) -> tuple[EvosaxState, MetaLog]:
        """Samples a population, evaluates it and updates the strategy.

        If the new theta is not finite (some strategies divide by a standard deviation of zero), the
        state stays unchanged, so that theta is always finite.
        """
        strategy, params = self._make(state.theta)
        key_ask, key_evaluate, key_tell = split_named(key, "ask", "evaluate", "tell")
        # evosax relies on rank promotion, which the user's settings may forbid.
        with jax.numpy_rank_promotion("allow"):
            members, asked = strategy.ask(key_ask, state.strategy, params)
        members = cast_like(members, state.theta)
        fitness, evaluation, diverged = self._score(key_evaluate, members)
        with jax.numpy_rank_promotion("allow"):
            updated, _ = strategy.tell(key_tell, members, fitness, asked, params)
        new = cast_like(EvosaxState(_representative(strategy, updated), updated), state)
        new = where(all_finite(new.theta), new, state)
        change = jax.tree.map(jnp.subtract, new.theta, state.theta)
        log = MetaLog(
            losses=jnp.mean(evaluation.losses, axis=0),
            diverged=diverged,
            gradient_norm=jnp.float32(0),
            update_norm=optax.tree.norm(change),
            unroll_losses=evaluation.losses,
            summary=evaluation.summary,
        )
        return new, log

    def theta(self, state: EvosaxState) -> Theta:
        """Returns the mean of the search distribution, or the best member of the population."""
        return state.theta

    def _score(self, key: Key, members: PyTree) -> tuple[Array, Evaluation, Array]:
        """Returns the fitness `[P]`, the (finite) evaluation and the number of diverged members."""
        evaluation = self.evaluate(key, members)
        if not isinstance(evaluation, Evaluation):
            evaluation = Evaluation(evaluation[None])
        losses, diverged = replace_diverged(evaluation.losses)
        single = losses.shape[0] == 1
        fitness = losses[0] if single else shaped_mean(losses, self.shaping)
        return fitness, evaluation._replace(losses=losses), diverged

    def _first_population(self, key: Key, theta: Theta) -> PyTree:
        std = 1.0 if self.std is None else self.std

        def member(number: Array) -> Theta:
            noise = normal_like(jax.random.fold_in(named(key, "member"), number), theta)
            # The first member is theta itself.
            scale = jnp.where(number == 0, 0.0, std)
            return jax.tree.map(lambda x, eps: x + scale.astype(eps.dtype) * eps, theta, noise)

        return jax.vmap(member)(jnp.arange(self.population))

    def _make(self, theta: Theta) -> tuple[Any, Any]:
        """Constructs the strategy for thetas of this shape; returns it and its parameters."""
        kind = strategy_class(self.strategy)
        constructor, parameters = self._sorted_settings(kind)
        # Concrete values, also if called while a program is being traced.
        with jax.ensure_compile_time_eval():
            example = jax.tree.map(lambda x: jnp.zeros(jnp.shape(x), x.dtype), theta)
            try:
                strategy = kind(population_size=self.population, solution=example, **constructor)
                params = strategy.default_params
            except (AssertionError, TypeError, ValueError) as error:
                raise ConfigError(
                    f"{self.strategy} does not accept population={self.population} with "
                    f"{sorted(constructor) or 'no options'}: {error}"
                ) from error
            for name in parameters:
                permitted = argument_names(kind) | parameter_names(kind)
                check_choice(f"option of {self.strategy}", name, permitted)
            return strategy, strongly_typed(params.replace(**parameters))

    def _sorted_settings(self, kind: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        """Splits the settings into constructor arguments and strategy parameters."""
        arguments = argument_names(kind)
        settings = dict(self.options)
        taken = settings_taken(self.strategy)
        for name, value in (("std", self.std), ("learning_rate", self.learning_rate)):
            if value is not None and name not in taken:
                raise ConfigError(f"{self.strategy} takes no {name}, got {value}.")
        if self.std is not None and "std_schedule" in arguments:
            settings.setdefault("std_schedule", optax.constant_schedule(self.std))
        elif self.std is not None and "std_init" in parameter_names(kind):
            settings.setdefault("std_init", std_init(self.strategy, self.std))
        if self.learning_rate is not None:
            rate = optax.exponential_decay(self.learning_rate, 1, self.decay)
            settings.setdefault("optimizer", optax.adam(rate))
        constructor = {name: value for name, value in settings.items() if name in arguments}
        return constructor, {k: v for k, v in settings.items() if k not in constructor}


def _representative(strategy: Any, state: PyTree) -> Theta:
    return strategy.get_mean(state) if has_mean(strategy) else strategy.get_best_solution(state)
