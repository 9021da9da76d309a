"""Evolution strategies on lives in parts: one estimator, of which three noise policies are known.

A pair lives twice on one task and with the same random numbers, under `theta + sigma eps` and
`theta - sigma eps`. After each part of K inner steps the difference of the two meta-losses says how
good a direction was, and the pair goes on, at its own age:

`gradient = mean over pairs of (L_plus - L_minus) / (2 sigma) * direction`.

What remains open is when the noise `eps` is drawn, which direction is credited, and whether both
members of a pair go on or one. `TruncatedES`, `PES` and `NoiseReuseES` are three answers.
"""

from dataclasses import dataclass, field
from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp

from metarl.core.contracts import Curriculum, Estimate, Truncation
from metarl.core.errors import ConfigError, check_positive
from metarl.core.keys import split_named
from metarl.core.mesh import Layout
from metarl.core.shaping import clipped, replace_diverged
from metarl.core.types import Array, Key, LearnerState, PyTree, Task, Theta
from metarl.estimators.lives import (
    LivesConfig,
    LivesState,
    Nursery,
    Score,
    live_part,
    without_nan,
)
from metarl.estimators.perturbations import perturbation, zeros_like


@dataclass(frozen=True)
class PairedLivesConfig(LivesConfig):
    """Settings of evolution strategies on lives in parts; see `LivesConfig` for the others.

    Attributes:
      pairs: M, antithetic pairs that live each of the N lives, with noise of their own.
      sigma: standard deviation of the perturbations of theta.
      clip: largest difference of meta-losses within a pair that counts in full; None = any.
      sign: whether only the sign of the difference counts, as one.
    """

    pairs: int = 1
    sigma: float = 0.01
    clip: float | None = None
    sign: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        check_positive(pairs=self.pairs, sigma=self.sigma, clip=self.clip)
        if self.sign and self.clip is not None:
            raise ConfigError(f"clip={self.clip} has no effect where sign=True. Leave it at None.")


class NoisePolicy(NamedTuple):
    """What tells one evolution strategy on lives in parts from another.

    Attributes:
      fresh: whether each part of a life has noise of its own; else a life has one.
      accumulated: whether all noise that a pair has lived with is credited; else that of the part.
      joined: whether both members go on from the state of the positive one; else each from its own.
    """

    fresh: bool
    accumulated: bool
    joined: bool


class Pair(NamedTuple):
    """Two lives under opposite perturbations.

    Attributes:
      noise: key of the perturbations, from which they are made again where they are needed.
      accumulated: sum of the perturbations lived with, in units of sigma, like theta; () if the
        policy credits no such sum.
      states: of the learner, `[2, ...]`, the positive member first; `[1, ...]` if they are joined.
    """

    noise: Key
    accumulated: PyTree
    states: LearnerState


@dataclass(frozen=True)
class PairedLives:
    """What `TruncatedES`, `PES` and `NoiseReuseES` share; choose one of them.

    What is estimated is the gradient of the mean meta-loss of a part, over lives of all ages.
    Members of a pair, and all pairs of a life, share the task and every random number; only noise
    tells them apart. Noise, sums and gradient are float32 (or wider), whatever theta's type.

    A pair of which a member has no finite loss gives a zero gradient; both are counted. The life
    ends when none of its pairs has finite losses and states.

    Attributes:
      config: settings.
      truncation: the learner, K, and the exam that is the meta-loss.
      curriculum: where tasks come from.
      layout: how members are laid over devices and chunks.
      score: what the curriculum is told of a life that ended, of which it sees the positive member
        of the first pair; None = zero. NaN is told of a life that diverged or was cut short by
        staggering.
    """

    config: PairedLivesConfig
    truncation: Truncation
    curriculum: Curriculum
    layout: Layout = field(default_factory=Layout)
    score: Score | None = None

    policy: ClassVar[NoisePolicy]

    def init(self, key: Key, theta: Theta) -> LivesState:
        """Starts `N * M` pairs.

        Raises:
          ConfigError: theta holds something else than floating-point numbers.
        """
        for path, leaf in jax.tree_util.tree_leaves_with_path(theta):
            if not jnp.issubdtype(jnp.result_type(leaf), jnp.floating):
                raise ConfigError(
                    f"theta{jax.tree_util.keystr(path)} has dtype {jnp.result_type(leaf)}: only "
                    "floating-point numbers can be perturbed."
                )
        return self._nursery.begin(key, theta)

    def estimate(self, key: Key, theta: Theta, state: LivesState) -> tuple[Estimate, LivesState]:
        """Lives K inner steps in pairs, compares, and replaces the lives that are over.

        The losses `[2 N M]` of the estimate are those of members; a pair is `(2i, 2i + 1)`.
        """
        config = self.config
        key_part, key_renew = split_named(key, "part", "renew")
        lives, pairs = state.lives, config.lives * config.pairs
        part = lives.age // self.truncation.length
        number = part if self.policy.fresh else jnp.zeros_like(part)
        noise, accumulated, states = jax.tree.map(
            lambda x: x.reshape(pairs, *x.shape[2:]), tuple(lives.state)
        )

        # Members are laid out and not pairs: one vmap compiles faster than one inside another.
        member = jnp.arange(2 * pairs)
        per_life = (jax.random.split(key_part, config.lives), lives.task, number)
        per_life = _rows(per_life, member // (2 * config.pairs))
        start = jax.tree.map(
            lambda x: jnp.broadcast_to(x, (pairs, 2, *x.shape[2:])).reshape(-1, *x.shape[2:]),
            states,
        )
        live = self.layout.spread(lambda *one: self._member(theta, *one))
        losses, states, healthy, log = live(
            1 - 2 * (member % 2), _rows(noise, member // 2), start, *per_life
        )
        per_pair = (noise, _rows(number, jnp.arange(pairs) // config.pairs), accumulated)
        credit = self.layout.summed(lambda *pair: self._credit(theta, *pair), zeros_like(theta))
        total, accumulated = credit(*per_pair, self._weights(losses.reshape(pairs, 2)))

        shape = (config.lives, config.pairs)
        kept = 1 if self.policy.joined else 2
        states = jax.tree.map(lambda x: x.reshape(*shape, 2, *x.shape[1:])[:, :, :kept], states)
        accumulated = jax.tree.map(lambda x: x.reshape(*shape, *x.shape[1:]), accumulated)
        lives = lives._replace(state=Pair(lives.state.noise, accumulated, states))
        healthy = jnp.any(jnp.all(healthy.reshape(*shape, 2), axis=2), axis=1)
        state = self._nursery.renew(key_renew, theta, lives, state.curriculum, healthy)
        gradient = jax.tree.map(lambda x: x / pairs, total)
        rows, diverged = replace_diverged(losses[None])
        summary = {name: values[None] for name, values in log.items()}
        return Estimate(gradient, rows[0], diverged, rows, summary), state

    @property
    def _nursery(self) -> Nursery:
        return Nursery(
            self.config,
            self.truncation,
            self.curriculum,
            self.layout,
            self.score,
            self._start,
            lambda pairs: jax.tree.map(lambda x: x[0, 0], pairs.states),
        )

    def _start(self, key: Key, theta: Theta, task: Task) -> Pair:
        """The M pairs of a new life, with the noise of their first part unless they are joined."""
        key_noise, key_learner = split_named(key, "noise", "learner")

        def start(theta: Theta) -> LearnerState:
            return self.truncation.learner.init(key_learner, theta, task)

        def pair(noise: Key) -> Pair:
            accumulated = zeros_like(theta) if self.policy.accumulated else ()
            if self.policy.joined:
                return Pair(noise, accumulated, jax.tree.map(lambda x: x[None], start(theta)))
            drawn = perturbation(noise, theta, jnp.int32(0))
            states = jax.vmap(lambda sign: start(self._perturbed(theta, drawn, sign)))
            return Pair(noise, accumulated, states(jnp.array([1, -1])))

        return jax.vmap(pair)(jax.random.split(key_noise, self.config.pairs))

    def _member(
        self,
        theta: Theta,
        sign: Array,
        noise: Key,
        state: LearnerState,
        key: Key,
        task: Task,
        number: Array,
    ) -> tuple[Array, LearnerState, Array, dict[str, Array]]:
        """K inner steps of one member; its loss, state, whether it may go on, and scalars."""
        theta = self._perturbed(theta, perturbation(noise, theta, number), sign)
        loss, state, log = live_part(self.truncation, key, theta, task, state)
        return loss, state, jnp.isfinite(loss) & without_nan(state), log

    def _weights(self, losses: Array) -> Array:
        """What each pair's direction is worth, from its losses `[pairs, 2]`."""
        difference = losses[:, 0] - losses[:, 1]
        shaped = jnp.sign(difference) if self.config.sign else clipped(difference, self.config.clip)
        return jnp.where(jnp.all(jnp.isfinite(losses), axis=1), shaped, 0.0) / (
            2 * self.config.sigma
        )

    def _credit(
        self, theta: Theta, noise: Key, number: Array, accumulated: PyTree, weight: Array
    ) -> tuple[PyTree, PyTree]:
        """A pair's gradient, and what it has lived with so far."""
        direction = perturbation(noise, theta, number)
        if self.policy.accumulated:
            direction = accumulated = jax.tree.map(jnp.add, accumulated, direction)
        return jax.tree.map(lambda x: weight.astype(x.dtype) * x, direction), accumulated

    def _perturbed(self, theta: Theta, noise: PyTree, sign: Array) -> Theta:
        def moved(x: Array, eps: Array) -> Array:
            return (x + sign.astype(eps.dtype) * self.config.sigma * eps).astype(jnp.result_type(x))

        return jax.tree.map(moved, theta, noise)


def _rows(tree: PyTree, index: Array) -> PyTree:
    return jax.tree.map(lambda x: jnp.take(x, index, axis=0), tree)
