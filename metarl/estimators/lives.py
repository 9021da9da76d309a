"""Lives under way: what every estimator has in common that sees a lifetime in parts.

A population of lives goes on from one outer step to the next, each at its own age; a life that is
over is replaced by a new one on a new task, and its score is told to the curriculum.

A life ends between two parts and never within one, so that a lifetime is rounded up to whole parts
of K inner steps. Every part then belongs to one life, and no estimator has to split what it
measured between the life that ended and the one that began. To begin a new life in the middle of a
part would cost a fresh learner at every inner step: under `vmap` both branches run.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from metarl.core import trees
from metarl.core.contracts import Curriculum, Truncation
from metarl.core.errors import check_positive
from metarl.core.keys import split_named
from metarl.core.mesh import Layout
from metarl.core.remember import rematerialised
from metarl.core.types import Array, Key, LearnerState, PyTree, Task, Theta

Score = Callable[[Key, Theta, Task, LearnerState], Array]
"""What a curriculum is told of a life that ended, a scalar."""


@dataclass(frozen=True)
class LivesConfig:
    """Settings of lives under way.

    Attributes:
      lives: N, lifetimes under way at once.
      stagger: whether the first lives are cut short at random, so that ends spread over time.
      score_chunk: lives scored together for the curriculum.
    """

    lives: int = 32
    stagger: bool = True
    score_chunk: int = 8

    def __post_init__(self) -> None:
        check_positive(lives=self.lives, score_chunk=self.score_chunk)


class Lives(NamedTuple):
    """Lifetimes under way; leaves `[N, ...]`.

    Attributes:
      task: what each is lived on.
      ticket: by which the curriculum knows the task.
      state: of the learner, or of several that live side by side.
      age: inner steps so far.
      end: age at which it is over.
    """

    task: Task
    ticket: Array
    state: Any
    age: Array
    end: Array


class LivesState(NamedTuple):
    """Lives and the curriculum that hands out their tasks."""

    lives: Lives
    curriculum: PyTree


@dataclass(frozen=True)
class Nursery:
    """Begins lives and replaces those that are over.

    Attributes:
      config: settings.
      truncation: what a part of a life is, and how long a life.
      curriculum: where tasks come from.
      layout: how lives are laid over devices and chunks.
      score: what the curriculum is told of a life that ended; None = zero. NaN is told of a life
        that diverged or was cut short by staggering.
      start: `(key, theta, task) -> state` of a life that begins.
      shown: what the score sees of such a state.
    """

    config: LivesConfig
    truncation: Truncation
    curriculum: Curriculum
    layout: Layout
    score: Score | None
    start: Callable[[Key, Theta, Task], Any]
    shown: Callable[[Any], LearnerState] = lambda state: state

    def begin(self, key: Key, theta: Theta) -> LivesState:
        """Starts N lives."""
        key_curriculum, key_draw, key_lives, key_stagger = split_named(
            key, "curriculum", "draw", "lives", "stagger"
        )
        everyone = jnp.ones((self.config.lives,), bool)
        curriculum = self.curriculum.init(key_curriculum)
        task, ticket, curriculum = self.curriculum.draw(key_draw, curriculum, everyone)
        lives = self._born(key_lives, theta, task, ticket)
        if self.config.stagger:
            share = jax.random.uniform(key_stagger, everyone.shape)
            end = jnp.ceil(share * lives.end).astype(lives.end.dtype)
            lives = lives._replace(end=jnp.maximum(end, 1))
        return LivesState(lives, curriculum)

    def renew(
        self, key: Key, theta: Theta, lives: Lives, curriculum: PyTree, healthy: Array
    ) -> LivesState:
        """Ages lives by a part, reports those that are over, and begins new ones in their place.

        The curriculum is told at every outer step, also when no life ended: so it can count them.

        Args:
          key: of the renewal.
          theta: with which new lives begin.
          lives: as they are after the part, their age still from before it.
          curriculum: its state.
          healthy: which lives may go on, booleans `[N]`; one that may not is over.
        """
        key_score, key_draw, key_lives = split_named(key, "score", "draw", "lives")
        lives = lives._replace(age=lives.age + self.truncation.length)
        ended = (lives.age >= lives.end) | ~healthy
        scores = self._scores(key_score, theta, lives, ended)
        # A life that was cut short says little of its level.
        whole = lives.age >= self._lifetimes(lives.task)
        scores = jnp.where(healthy & whole, scores, jnp.nan)
        curriculum = self.curriculum.report(curriculum, lives.ticket, scores, ended)

        def replace(_: None) -> LivesState:
            task, ticket, drawn = self.curriculum.draw(key_draw, curriculum, ended)
            born = self._born(key_lives, theta, task, ticket)
            return LivesState(trees.where(ended, born, lives), drawn)

        def keep(_: None) -> LivesState:
            return LivesState(lives, curriculum)

        return jax.lax.cond(jnp.any(ended), replace, keep, None)

    def _scores(self, key: Key, theta: Theta, lives: Lives, ended: Array) -> Array:
        """Scores `[N]`; only of those that ended, a few at a time, since a score may cost much."""
        scores = jnp.zeros(ended.shape, jnp.float32)
        score_of = self.score
        if score_of is None:
            return scores
        total, chunk = ended.shape[0], min(self.config.score_chunk, ended.shape[0])
        order = jnp.argsort(~ended)
        keys = jax.random.split(key, total)

        def some(number: Array, scores: Array) -> Array:
            chosen = jnp.take(order, number * chunk + jnp.arange(chunk), mode="clip")
            key, task, state = jax.tree.map(
                lambda x: jnp.take(x, chosen, axis=0), (keys, lives.task, lives.state)
            )
            score = self.layout.spread(
                lambda key, task, state: score_of(key, theta, task, self.shown(state))
            )
            return scores.at[chosen].set(score(key, task, state))

        needed = (jnp.sum(ended) + chunk - 1) // chunk
        return jax.lax.fori_loop(0, needed, some, scores)

    def _born(self, key: Key, theta: Theta, task: Task, ticket: Array) -> Lives:
        keys = jax.random.split(key, self.config.lives)
        start = self.layout.spread(lambda key, task: self.start(key, theta, task))
        end = self._lifetimes(task)
        return Lives(task, ticket, start(keys, task), jnp.zeros_like(end), end)

    def _lifetimes(self, task: Task) -> Array:
        # The numbers are for a task without any array, over which vmap has no axis.
        numbers = jnp.arange(self.config.lives)
        return jax.vmap(lambda task, _: jnp.asarray(self.truncation.lifetime(task)))(task, numbers)


def live_part(
    truncation: Truncation,
    key: Key,
    theta: Theta,
    task: Task,
    state: LearnerState,
    rematerialise: bool = False,
) -> tuple[Array, LearnerState, dict[str, Array]]:
    """K inner steps and the exam of one life; returns what the exam does.

    Args:
      truncation: the learner, K and the exam.
      key: of the part.
      theta: as of the learner, like task and state.
      task: what the life is lived on.
      state: where it stands.
      rematerialise: see `TruncatedBackpropConfig`; of no effect without differentiation.
    """
    key_steps, key_exam = split_named(key, "steps", "exam")

    def step(state: LearnerState, key: Key) -> tuple[LearnerState, PyTree]:
        return truncation.learner.step(key, theta, task, state)

    if rematerialise:
        step = rematerialised(step)
    state, logs = jax.lax.scan(step, state, jax.random.split(key_steps, truncation.length))
    return truncation.exam(key_exam, theta, task, state, logs)


def without_nan(state: PyTree) -> Array:
    """Whether no number of a state is NaN; infinities may stand for "nothing yet"."""
    floats = [x for x in jax.tree.leaves(state) if jnp.issubdtype(x.dtype, jnp.floating)]
    return ~jnp.any(jnp.stack([jnp.any(jnp.isnan(x)) for x in floats])) if floats else jnp.bool_(1)
