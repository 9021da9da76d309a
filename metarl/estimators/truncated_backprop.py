"""The gradient of truncated lifetimes, by backpropagation through K inner steps.

Memory grows with K and not with the lifetime, and the gradient is blind to whatever K steps do not
show: it is biased towards what pays off soon (Wu et al. 2018, arXiv:1803.02021).
"""

from dataclasses import dataclass, field

import jax
import jax.numpy as jnp

from metarl.core.contracts import Curriculum, Estimate, Truncation
from metarl.core.keys import split_named
from metarl.core.mesh import Layout
from metarl.core.shaping import replace_diverged
from metarl.core.types import Array, Key, LearnerState, Task, Theta
from metarl.estimators.lives import (
    LivesConfig,
    LivesState,
    Nursery,
    Score,
    live_part,
    without_nan,
)

TruncatedBackpropState = LivesState


@dataclass(frozen=True)
class TruncatedBackpropConfig(LivesConfig):
    """Settings of truncated backpropagation; see `LivesConfig` for the others.

    Attributes:
      rematerialise: whether inner steps are computed again on the way back instead of remembered,
        but for what the learner marks (`metarl.core.remember`), such as what its agents lived
        through; less memory for somewhat more arithmetic.
    """

    rematerialise: bool = True


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

    def init(self, key: Key, theta: Theta) -> LivesState:
        """Starts N lives."""
        return self._nursery.begin(key, theta)

    def estimate(self, key: Key, theta: Theta, state: LivesState) -> tuple[Estimate, LivesState]:
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
        healthy = jnp.isfinite(losses) & jax.vmap(without_nan)(states)
        lives = lives._replace(state=states)
        state = self._nursery.renew(key_renew, theta, lives, state.curriculum, healthy)
        rows, _ = replace_diverged(losses[None])
        summary = {name: values[None] for name, values in log.items()}
        lost = jnp.sum(~counted, dtype=jnp.int32)
        return Estimate(gradient, rows[0], lost, rows, summary), state

    @property
    def _nursery(self) -> Nursery:
        return Nursery(
            self.config,
            self.truncation,
            self.curriculum,
            self.layout,
            self.score,
            self.truncation.learner.init,
        )

    def _part(
        self, theta: Theta, key: Key, task: Task, state: LearnerState
    ) -> tuple[Array, tuple[LearnerState, dict[str, Array]]]:
        loss, state, log = live_part(
            self.truncation, key, theta, task, state, self.config.rematerialise
        )
        return loss, (state, log)
