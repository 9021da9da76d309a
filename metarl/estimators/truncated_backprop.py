"""Truncated backpropagation: the gradient through K inner steps of each unroll.

Memory grows with K and not with the lifetime. The estimate ignores effects beyond K steps: it is
biased towards short-term gains (Wu et al. 2018, arXiv:1803.02021).
"""

from dataclasses import dataclass, field

import jax
import jax.numpy as jnp

from metarl.core.contracts import Curriculum, Estimate, Truncation
from metarl.core.keys import split_named
from metarl.core.mesh import Layout
from metarl.core.shaping import replace_diverged
from metarl.core.types import Array, Key, LearnerState, Task, Theta
from metarl.estimators.truncated_unrolls import (
    Score,
    TruncatedUnrollState,
    UnrollBatch,
    UnrollBatchConfig,
    has_no_nan,
    unroll_segment,
)

TruncatedBackpropState = TruncatedUnrollState


@dataclass(frozen=True)
class TruncatedBackpropConfig(UnrollBatchConfig):
    """Settings of truncated backpropagation; see `UnrollBatchConfig` for the inherited ones.

    Attributes:
      rematerialise: whether the backward pass recomputes inner steps, except values that the
        learner marks with `metarl.core.residuals.save_residuals`, such as rollouts; less memory
        for somewhat more arithmetic.
    """

    rematerialise: bool = True


@dataclass(frozen=True)
class TruncatedBackprop:
    """Estimates the mean gradient of the meta-losses of N unrolls over K inner steps each.

    Attributes:
      config: settings.
      truncation: learner, window length K and meta-loss.
      curriculum: source of tasks.
      layout: distribution of unrolls over devices and chunks.
      score: score of a finished unroll for the curriculum; None = zero. The curriculum receives NaN
        for an unroll that diverged or that staggering ended early.
    """

    config: TruncatedBackpropConfig
    truncation: Truncation
    curriculum: Curriculum
    layout: Layout = field(default_factory=Layout)
    score: Score | None = None

    def init(self, key: Key, theta: Theta) -> TruncatedUnrollState:
        """Initializes N unrolls."""
        return self._unroll_batch.init(key, theta)

    def estimate(
        self, key: Key, theta: Theta, state: TruncatedUnrollState
    ) -> tuple[Estimate, TruncatedUnrollState]:
        """Backpropagates through K inner steps of every unroll and resets finished unrolls.

        An unroll whose loss is not finite, or whose state holds NaN, is finished early. A chunk
        with a loss or gradient that is not finite contributes no gradient, and all its unrolls
        count as diverged.
        """
        key_window, key_reset = split_named(key, "part", "renew")
        keys = jax.random.split(key_window, self.config.num_parallel)
        unrolls = state.unrolls
        gradient, losses, (states, log), counted = self.layout.mean_gradient(self._segment)(
            theta, keys, unrolls.task, unrolls.state
        )
        healthy = jnp.isfinite(losses) & jax.vmap(has_no_nan)(states)
        unrolls = unrolls._replace(state=states)
        state = self._unroll_batch.reset_finished(
            key_reset, theta, unrolls, state.curriculum, healthy
        )
        rows, _ = replace_diverged(losses[None])
        summary = {name: values[None] for name, values in log.items()}
        diverged = jnp.sum(~counted, dtype=jnp.int32)
        return Estimate(gradient, rows[0], diverged, rows, summary), state

    @property
    def _unroll_batch(self) -> UnrollBatch:
        return UnrollBatch(
            self.config,
            self.truncation,
            self.curriculum,
            self.layout,
            self.score,
            self.truncation.learner.init,
        )

    def _segment(
        self, theta: Theta, key: Key, task: Task, state: LearnerState
    ) -> tuple[Array, tuple[LearnerState, dict[str, Array]]]:
        loss, state, log = unroll_segment(
            self.truncation, key, theta, task, state, self.config.rematerialise
        )
        return loss, (state, log)
