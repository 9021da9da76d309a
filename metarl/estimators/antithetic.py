"""Antithetic truncated evolution strategies: one estimator with three known noise policies.

The two members of an antithetic pair unroll the same task with the same random numbers, under
`theta + sigma eps` and `theta - sigma eps`. After each truncation window of K inner steps, the
difference of the two meta-losses weights a perturbation direction:

`gradient = mean over pairs of (L_plus - L_minus) / (2 sigma) * direction`.

The pair then continues at its own age. A noise policy decides when `eps` is resampled, which
direction is weighted, and whether both members continue from one state. `TruncatedES`, `PES` and
`NoiseReuseES` are three noise policies.
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
from metarl.estimators.perturbations import perturbation, zeros_like
from metarl.estimators.truncated_unrolls import (
    Score,
    TruncatedUnrollState,
    UnrollBatch,
    UnrollBatchConfig,
    has_no_nan,
    unroll_segment,
)


@dataclass(frozen=True)
class AntitheticTruncatedESConfig(UnrollBatchConfig):
    """Settings of antithetic truncated ES; see `UnrollBatchConfig` for the inherited ones.

    Attributes:
      pairs: M, number of antithetic pairs of each of the N unrolls, with independent noise.
      sigma: standard deviation of the perturbations of theta.
      clip: maximum absolute difference of the meta-losses of a pair, larger ones are clipped;
        None = no clipping.
      sign: whether only the sign of the difference is used.
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
    """What distinguishes the antithetic truncated evolution strategies.

    Attributes:
      resample: whether every truncation window samples new noise; else an unroll keeps its noise.
      accumulate: whether the direction is the sum of all noise since the unroll began; else the
        noise of the window.
      shared_state: whether both members continue from the state of the positive one; else each
        continues from its own.
    """

    resample: bool
    accumulate: bool
    shared_state: bool


class AntitheticPair(NamedTuple):
    """Two unrolls under opposite perturbations.

    Attributes:
      noise: PRNG key of the perturbations, which are recomputed from it where they are needed.
      accumulated: sum of the perturbations so far, in units of sigma, shaped like theta; () if the
        policy does not accumulate noise.
      states: learner states `[2, ...]`, the positive member first; `[1, ...]` if the policy shares
        the state.
    """

    noise: Key
    accumulated: PyTree
    states: LearnerState


@dataclass(frozen=True)
class AntitheticTruncatedES:
    """Base class of `TruncatedES`, `PES` and `NoiseReuseES`, which set the noise policy.

    Estimates the gradient of the mean meta-loss of a truncation window, over unrolls of all ages.
    All members of all pairs of an unroll share the task and every random number and differ only in
    noise. Noise, sums and gradient are float32 or wider, whatever theta's dtype.

    A pair with a member whose loss is not finite contributes a zero gradient and still counts in
    the mean. An unroll is finished early if every pair has a loss that is not finite, or a state
    with NaN.

    Attributes:
      config: settings.
      truncation: learner, window length K and meta-loss.
      curriculum: source of tasks.
      layout: distribution of members over devices and chunks.
      score: score of a finished unroll for the curriculum, computed from the positive member of the
        first pair; None = zero. The curriculum receives NaN for an unroll that diverged or that
        staggering ended early.
    """

    config: AntitheticTruncatedESConfig
    truncation: Truncation
    curriculum: Curriculum
    layout: Layout = field(default_factory=Layout)
    score: Score | None = None

    policy: ClassVar[NoisePolicy]

    def init(self, key: Key, theta: Theta) -> TruncatedUnrollState:
        """Initializes `N * M` pairs.

        Raises:
          ConfigError: a leaf of theta is not floating-point.
        """
        for path, leaf in jax.tree_util.tree_leaves_with_path(theta):
            if not jnp.issubdtype(jnp.result_type(leaf), jnp.floating):
                raise ConfigError(
                    f"theta{jax.tree_util.keystr(path)} has dtype {jnp.result_type(leaf)}: only "
                    "floating-point numbers can be perturbed."
                )
        return self._unroll_batch.init(key, theta)

    def estimate(
        self, key: Key, theta: Theta, state: TruncatedUnrollState
    ) -> tuple[Estimate, TruncatedUnrollState]:
        """Estimates the gradient from one truncation window of K inner steps.

        Runs the window for every antithetic pair, estimates the gradient from the loss differences,
        and resets finished unrolls. `Estimate.losses` has one entry for each member, `[2 N M]`;
        members `2i` and `2i + 1` are a pair.
        """
        config = self.config
        key_window, key_reset = split_named(key, "part", "renew")
        unrolls, pairs = state.unrolls, config.num_parallel * config.pairs
        window = unrolls.age // self.truncation.length
        number = window if self.policy.resample else jnp.zeros_like(window)
        noise, accumulated, states = jax.tree.map(
            lambda x: x.reshape(pairs, *x.shape[2:]), tuple(unrolls.state)
        )

        # The batch axis is over members, not pairs: one vmap compiles faster than nested ones.
        member = jnp.arange(2 * pairs)
        per_unroll = (jax.random.split(key_window, config.num_parallel), unrolls.task, number)
        per_unroll = _rows(per_unroll, member // (2 * config.pairs))
        start = jax.tree.map(
            lambda x: jnp.broadcast_to(x, (pairs, 2, *x.shape[2:])).reshape(-1, *x.shape[2:]),
            states,
        )
        run_members = self.layout.sharded_vmap(lambda *member: self._member(theta, *member))
        losses, states, healthy, log = run_members(
            1 - 2 * (member % 2), _rows(noise, member // 2), start, *per_unroll
        )
        per_pair = (noise, _rows(number, jnp.arange(pairs) // config.pairs), accumulated)
        sum_gradients = self.layout.sharded_sum(
            lambda *pair: self._pair_gradient(theta, *pair), zeros_like(theta)
        )
        total, accumulated = sum_gradients(*per_pair, self._weights(losses.reshape(pairs, 2)))

        shape = (config.num_parallel, config.pairs)
        kept = 1 if self.policy.shared_state else 2
        states = jax.tree.map(lambda x: x.reshape(*shape, 2, *x.shape[1:])[:, :, :kept], states)
        accumulated = jax.tree.map(lambda x: x.reshape(*shape, *x.shape[1:]), accumulated)
        unrolls = unrolls._replace(state=AntitheticPair(unrolls.state.noise, accumulated, states))
        healthy = jnp.any(jnp.all(healthy.reshape(*shape, 2), axis=2), axis=1)
        state = self._unroll_batch.reset_finished(
            key_reset, theta, unrolls, state.curriculum, healthy
        )
        gradient = jax.tree.map(lambda x: x / pairs, total)
        rows, diverged = replace_diverged(losses[None])
        summary = {name: values[None] for name, values in log.items()}
        return Estimate(gradient, rows[0], diverged, rows, summary), state

    @property
    def _unroll_batch(self) -> UnrollBatch:
        return UnrollBatch(
            self.config,
            self.truncation,
            self.curriculum,
            self.layout,
            self.score,
            self._init_pairs,
            lambda pairs: jax.tree.map(lambda x: x[0, 0], pairs.states),
        )

    def _init_pairs(self, key: Key, theta: Theta, task: Task) -> AntitheticPair:
        """Initializes the M pairs of a new unroll.

        Each member's learner starts under the noise of the first window; with a shared state, under
        the unperturbed theta.
        """
        key_noise, key_learner = split_named(key, "noise", "learner")

        def init_learner(theta: Theta) -> LearnerState:
            return self.truncation.learner.init(key_learner, theta, task)

        def init_pair(noise: Key) -> AntitheticPair:
            accumulated = zeros_like(theta) if self.policy.accumulate else ()
            if self.policy.shared_state:
                states = jax.tree.map(lambda x: x[None], init_learner(theta))
                return AntitheticPair(noise, accumulated, states)
            drawn = perturbation(noise, theta, jnp.int32(0))
            init_member = jax.vmap(lambda sign: init_learner(self._perturbed(theta, drawn, sign)))
            return AntitheticPair(noise, accumulated, init_member(jnp.array([1, -1])))

        return jax.vmap(init_pair)(jax.random.split(key_noise, self.config.pairs))

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
        """Runs K inner steps of one member; returns loss, state, health, summary."""
        theta = self._perturbed(theta, perturbation(noise, theta, number), sign)
        loss, state, log = unroll_segment(self.truncation, key, theta, task, state)
        return loss, state, jnp.isfinite(loss) & has_no_nan(state), log

    def _weights(self, losses: Array) -> Array:
        """Weight of each pair's direction, from its losses `[pairs, 2]`."""
        difference = losses[:, 0] - losses[:, 1]
        shaped = jnp.sign(difference) if self.config.sign else clipped(difference, self.config.clip)
        return jnp.where(jnp.all(jnp.isfinite(losses), axis=1), shaped, 0.0) / (
            2 * self.config.sigma
        )

    def _pair_gradient(
        self, theta: Theta, noise: Key, number: Array, accumulated: PyTree, weight: Array
    ) -> tuple[PyTree, PyTree]:
        """Gradient of a pair, and its noise accumulated so far."""
        direction = perturbation(noise, theta, number)
        if self.policy.accumulate:
            direction = accumulated = jax.tree.map(jnp.add, accumulated, direction)
        return jax.tree.map(lambda x: weight.astype(x.dtype) * x, direction), accumulated

    def _perturbed(self, theta: Theta, noise: PyTree, sign: Array) -> Theta:
        def add_noise(x: Array, eps: Array) -> Array:
            return (x + sign.astype(eps.dtype) * self.config.sigma * eps).astype(jnp.result_type(x))

        return jax.tree.map(add_noise, theta, noise)


def _rows(tree: PyTree, index: Array) -> PyTree:
    return jax.tree.map(lambda x: jnp.take(x, index, axis=0), tree)
