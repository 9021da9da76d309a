"""Batches of truncated unrolls: what all estimators share that advance inner training in windows.

N unrolls continue from one outer step to the next, each at its own age. A finished unroll is reset:
it starts on a new task, and the curriculum receives its score.

An unroll finishes between two truncation windows and never within one, so that a lifetime is
rounded up to whole windows of K inner steps. Every window then belongs to one unroll. A reset
within a window would initialize a learner at every inner step, because `vmap` runs both branches.
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
from metarl.core.residuals import checkpointed
from metarl.core.types import Array, Key, LearnerState, PyTree, Task, Theta

Score = Callable[[Key, Theta, Task, LearnerState], Array]
"""Maps a finished unroll to the score that the curriculum receives, a scalar."""


@dataclass(frozen=True)
class UnrollBatchConfig:
    """Settings of a batch of truncated unrolls.

    Attributes:
      num_parallel: N, number of parallel unrolls.
      stagger: whether the first unrolls end early at random ages, so that resets spread over time.
      score_chunk: number of finished unrolls that are scored together for the curriculum.
    """

    num_parallel: int = 32
    stagger: bool = True
    score_chunk: int = 8

    def __post_init__(self) -> None:
        check_positive(num_parallel=self.num_parallel, score_chunk=self.score_chunk)


class TruncatedUnrolls(NamedTuple):
    """Unrolls in progress; leaves `[N, ...]`.

    Attributes:
      task: task of each unroll.
      slot: slot of the task in the curriculum, see `Curriculum.draw`.
      state: state of the learner, or of several learners that share the unroll's task.
      age: number of inner steps so far.
      end: age from which the unroll is finished.
    """

    task: Task
    slot: Array
    state: Any
    age: Array
    end: Array


class TruncatedUnrollState(NamedTuple):
    """State of an estimator on truncated unrolls.

    Attributes:
      unrolls: unrolls in progress.
      curriculum: state of the curriculum that provides their tasks.
    """

    unrolls: TruncatedUnrolls
    curriculum: PyTree


@dataclass(frozen=True)
class UnrollBatch:
    """Initializes a batch of unrolls and resets those that are finished.

    Attributes:
      config: settings.
      truncation: learner, window length K and lifetime.
      curriculum: source of tasks.
      layout: distribution of unrolls over devices and chunks.
      score: score of a finished unroll for the curriculum; None = zero. The curriculum receives NaN
        for an unroll that diverged or that staggering ended early.
      init_state: `(key, theta, task) -> state` of a new unroll.
      scored_state: maps the state of an unroll to the learner state that `score` receives.
    """

    config: UnrollBatchConfig
    truncation: Truncation
    curriculum: Curriculum
    layout: Layout
    score: Score | None
    init_state: Callable[[Key, Theta, Task], Any]
    scored_state: Callable[[Any], LearnerState] = lambda state: state

    def init(self, key: Key, theta: Theta) -> TruncatedUnrollState:
        """Initializes N unrolls."""
        key_curriculum, key_draw, key_unrolls, key_stagger = split_named(
            key, "curriculum", "draw", "lives", "stagger"
        )
        all_unrolls = jnp.ones((self.config.num_parallel,), bool)
        curriculum = self.curriculum.init(key_curriculum)
        task, slots, curriculum = self.curriculum.draw(key_draw, curriculum, all_unrolls)
        unrolls = self._new_unrolls(key_unrolls, theta, task, slots)
        if self.config.stagger:
            fraction = jax.random.uniform(key_stagger, all_unrolls.shape)
            end = jnp.ceil(fraction * unrolls.end).astype(unrolls.end.dtype)
            unrolls = unrolls._replace(end=jnp.maximum(end, 1))
        return TruncatedUnrollState(unrolls, curriculum)

    def reset_finished(
        self,
        key: Key,
        theta: Theta,
        unrolls: TruncatedUnrolls,
        curriculum: PyTree,
        healthy: Array,
    ) -> TruncatedUnrollState:
        """Adds a window to every age, reports finished unrolls, and resets them.

        The curriculum receives a report at every outer step, also if no unroll finished, so that it
        can count outer steps.

        Args:
          key: PRNG key of scores, task draws and new unrolls.
          theta: meta-parameters with which new unrolls start.
          unrolls: unrolls after the window, with their age from before it.
          curriculum: state of the curriculum.
          healthy: mask of the unrolls that may continue, booleans `[N]`; others are finished.
        """
        key_score, key_draw, key_unrolls = split_named(key, "score", "draw", "lives")
        unrolls = unrolls._replace(age=unrolls.age + self.truncation.length)
        finished = (unrolls.age >= unrolls.end) | ~healthy
        scores = self._scores(key_score, theta, unrolls, finished)
        # The score of an unroll that ended early is not that of a full lifetime.
        full_length = unrolls.age >= self._lifetimes(unrolls.task)
        scores = jnp.where(healthy & full_length, scores, jnp.nan)
        curriculum = self.curriculum.report(curriculum, unrolls.slot, scores, finished)

        def reset(_: None) -> TruncatedUnrollState:
            task, slots, drawn = self.curriculum.draw(key_draw, curriculum, finished)
            new = self._new_unrolls(key_unrolls, theta, task, slots)
            return TruncatedUnrollState(trees.where(finished, new, unrolls), drawn)

        def keep(_: None) -> TruncatedUnrollState:
            return TruncatedUnrollState(unrolls, curriculum)

        return jax.lax.cond(jnp.any(finished), reset, keep, None)

    def _scores(self, key: Key, theta: Theta, unrolls: TruncatedUnrolls, finished: Array) -> Array:
        """Scores `[N]`, computed in chunks and only for finished unrolls; zero for the others.

        Scoring one unroll may cost a full lifetime.
        """
        scores = jnp.zeros(finished.shape, jnp.float32)
        score_of = self.score
        if score_of is None:
            return scores
        total, chunk = finished.shape[0], min(self.config.score_chunk, finished.shape[0])
        order = jnp.argsort(~finished)
        keys = jax.random.split(key, total)

        def score_chunk(number: Array, scores: Array) -> Array:
            chosen = jnp.take(order, number * chunk + jnp.arange(chunk), mode="clip")
            key, task, state = jax.tree.map(
                lambda x: jnp.take(x, chosen, axis=0), (keys, unrolls.task, unrolls.state)
            )
            score = self.layout.sharded_vmap(
                lambda key, task, state: score_of(key, theta, task, self.scored_state(state))
            )
            return scores.at[chosen].set(score(key, task, state))

        num_chunks = (jnp.sum(finished) + chunk - 1) // chunk
        return jax.lax.fori_loop(0, num_chunks, score_chunk, scores)

    def _new_unrolls(self, key: Key, theta: Theta, task: Task, slots: Array) -> TruncatedUnrolls:
        keys = jax.random.split(key, self.config.num_parallel)
        init = self.layout.sharded_vmap(lambda key, task: self.init_state(key, theta, task))
        end = self._lifetimes(task)
        return TruncatedUnrolls(task, slots, init(keys, task), jnp.zeros_like(end), end)

    def _lifetimes(self, task: Task) -> Array:
        # A task without any array gives vmap no axis, so the indices provide one.
        indices = jnp.arange(self.config.num_parallel)
        return jax.vmap(lambda task, _: jnp.asarray(self.truncation.lifetime(task)))(task, indices)


def unroll_segment(
    truncation: Truncation,
    key: Key,
    theta: Theta,
    task: Task,
    state: LearnerState,
    rematerialize: bool = False,
) -> tuple[Array, LearnerState, dict[str, Array]]:
    """Runs one truncation window of K inner steps; returns the output of its meta-loss.

    Args:
      truncation: learner, window length K and meta-loss.
      key: PRNG key of the window.
      theta: meta-parameters.
      task: task of the unroll.
      state: learner state at the start of the window.
      rematerialize: whether the backward pass recomputes inner steps, see
        `TruncatedBackpropConfig`; no effect without differentiation.
    """
    key_steps, key_meta_loss = split_named(key, "steps", "exam")

    def step(state: LearnerState, key: Key) -> tuple[LearnerState, PyTree]:
        return truncation.learner.step(key, theta, task, state)

    if rematerialize:
        step = checkpointed(step)
    state, logs = jax.lax.scan(step, state, jax.random.split(key_steps, truncation.length))
    return truncation.meta_loss(key_meta_loss, theta, task, state, logs)


def has_no_nan(state: PyTree) -> Array:
    """Whether no element of a state is NaN; infinities are allowed, as initial extreme values."""
    floats = [x for x in jax.tree.leaves(state) if jnp.issubdtype(x.dtype, jnp.floating)]
    return ~jnp.any(jnp.stack([jnp.any(jnp.isnan(x)) for x in floats])) if floats else jnp.bool_(1)
