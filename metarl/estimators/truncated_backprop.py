"""The gradient of truncated lifetimes, by backpropagation through K inner steps.

A population of lives goes on from one outer step to the next, each at its own age; a life that is
over is replaced by a new one on a new task. Memory grows with K and not with the lifetime, and the
gradient is blind to whatever K steps do not show: it is biased towards what pays off soon (Wu et
al. 2018, arXiv:1803.02021).
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import jax
import jax.numpy as jnp

from metarl.core import trees
from metarl.core.contracts import Curriculum, Estimate, Truncation
from metarl.core.errors import check_positive
from metarl.core.keys import split_named
from metarl.core.mesh import Layout
from metarl.core.shaping import replace_diverged
from metarl.core.types import Array, Key, LearnerState, PyTree, Task, Theta

Score = Callable[[Key, Theta, Task, LearnerState], Array]
"""What a curriculum is told of a life that ended, a scalar."""


@dataclass(frozen=True)
class TruncatedBackpropConfig:
    """Settings of truncated backpropagation.

    Attributes:
      lives: N, lifetimes under way at once.
      rematerialise: whether inner steps are computed again on the way back instead of remembered;
        less memory for about a third more arithmetic.
      stagger: whether the first lives are cut short at random, so that ends spread over time.
      score_chunk: lives scored together for the curriculum.
    """

    lives: int = 32
    rematerialise: bool = True
    stagger: bool = True
    score_chunk: int = 8

    def __post_init__(self) -> None:
        check_positive(lives=self.lives, score_chunk=self.score_chunk)


class Lives(NamedTuple):
    """Lifetimes under way; leaves `[N, ...]`.

    Attributes:
      task: what each is lived on.
      ticket: by which the curriculum knows the task.
      state: of the learner.
      age: inner steps so far.
      end: age at which it is over.
    """

    task: Task
    ticket: Array
    state: LearnerState
    age: Array
    end: Array


class TruncatedBackpropState(NamedTuple):
    """Lives and the curriculum that hands out their tasks."""

    lives: Lives
    curriculum: PyTree


@dataclass(frozen=True)
class TruncatedBackprop:
    """The estimator: the mean gradient of the exams of N lives, K inner steps each.

    Attributes:
      config: settings.
      truncation: the learner, K, and the exam that is the meta-loss.
      curriculum: where tasks come from.
      layout: how lives are laid over devices and chunks.
      score: what the curriculum is told of a life that ended; None = zero. NaN is told of a life
        that diverged or was cut short by staggering.
    """

    config: TruncatedBackpropConfig
    truncation: Truncation
    curriculum: Curriculum
    layout: Layout = field(default_factory=Layout)
    score: Score | None = None

    def init(self, key: Key, theta: Theta) -> TruncatedBackpropState:
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
        return TruncatedBackpropState(lives, curriculum)

    def estimate(
        self, key: Key, theta: Theta, state: TruncatedBackpropState
    ) -> tuple[Estimate, TruncatedBackpropState]:
        """Lives K inner steps, differentiates, and replaces the lives that are over.

        A life whose loss or state is not finite ends too, and gives no gradient; neither do those
        in its chunk, all of which count as diverged.
        """
        key_part, key_renew = split_named(key, "part", "renew")
        keys = jax.random.split(key_part, self.config.lives)
        lives = state.lives
        gradient, losses, (states, log), counted = self.layout.mean_gradient(self._part)(
            theta, keys, lives.task, lives.state
        )
        lives = lives._replace(state=states, age=lives.age + self.truncation.length)
        healthy = jnp.isfinite(losses) & jax.vmap(_finite)(states)
        state = self._renew(key_renew, theta, lives, state.curriculum, healthy)
        rows, _ = replace_diverged(losses[None])
        summary = {name: values[None] for name, values in log.items()}
        lost = jnp.sum(~counted, dtype=jnp.int32)
        return Estimate(gradient, rows[0], lost, rows, summary), state

    def _part(
        self, theta: Theta, key: Key, task: Task, state: LearnerState
    ) -> tuple[Array, tuple[LearnerState, dict[str, Array]]]:
        """K inner steps and the exam of one life."""
        key_steps, key_exam = split_named(key, "steps", "exam")

        def step(state: LearnerState, key: Key) -> tuple[LearnerState, PyTree]:
            return self.truncation.learner.step(key, theta, task, state)

        if self.config.rematerialise:
            step = jax.checkpoint(step, prevent_cse=False)
        keys = jax.random.split(key_steps, self.truncation.length)
        state, logs = jax.lax.scan(step, state, keys)
        loss, state, log = self.truncation.exam(key_exam, theta, task, state, logs)
        return loss, (state, log)

    def _renew(
        self, key: Key, theta: Theta, lives: Lives, curriculum: PyTree, healthy: Array
    ) -> TruncatedBackpropState:
        """Reports the lives that are over, and begins new ones in their place."""
        key_score, key_draw, key_lives = split_named(key, "score", "draw", "lives")
        ended = (lives.age >= lives.end) | ~healthy

        def replace(_: None) -> TruncatedBackpropState:
            scores = self._scores(key_score, theta, lives, ended)
            # A life that was cut short says little of its level.
            whole = lives.age >= jax.vmap(self.truncation.lifetime)(lives.task)
            scores = jnp.where(healthy & whole, scores, jnp.nan)
            reported = self.curriculum.report(curriculum, lives.ticket, scores, ended)
            task, ticket, drawn = self.curriculum.draw(key_draw, reported, ended)
            born = self._born(key_lives, theta, task, ticket)
            return TruncatedBackpropState(trees.where(ended, born, lives), drawn)

        def keep(_: None) -> TruncatedBackpropState:
            return TruncatedBackpropState(lives, curriculum)

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
            score = self.layout.spread(lambda key, *life: score_of(key, theta, *life))
            return scores.at[chosen].set(score(key, task, state))

        needed = (jnp.sum(ended) + chunk - 1) // chunk
        return jax.lax.fori_loop(0, needed, some, scores)

    def _born(self, key: Key, theta: Theta, task: Task, ticket: Array) -> Lives:
        keys = jax.random.split(key, self.config.lives)
        start = self.layout.spread(lambda key, task: self.truncation.learner.init(key, theta, task))
        end = jax.vmap(self.truncation.lifetime)(task)
        return Lives(task, ticket, start(keys, task), jnp.zeros_like(end), end)


def _finite(state: LearnerState) -> Array:
    """Whether no number of a state is NaN; infinities may stand for "nothing yet"."""
    floats = [x for x in jax.tree.leaves(state) if jnp.issubdtype(x.dtype, jnp.floating)]
    return ~jnp.any(jnp.stack([jnp.any(jnp.isnan(x)) for x in floats])) if floats else jnp.bool_(1)
