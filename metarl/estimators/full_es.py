"""Full-lifetime evolution strategies: the gradient of the Gaussian-smoothed meta-loss."""

from dataclasses import dataclass, field
from typing import Literal

import jax
import jax.numpy as jnp

from metarl.core.contracts import Estimate, Unroll
from metarl.core.errors import ConfigError, check_choice, check_positive
from metarl.core.keys import named, split_named
from metarl.core.mesh import Layout
from metarl.core.shaping import SHAPINGS, clipped, replace_diverged, shaped_mean
from metarl.core.trees import normal_like
from metarl.core.types import Array, Key, PyTree, Theta
from metarl.estimators.population import SHARINGS, Sharing, Summary, evaluate

NOISE_CHUNK = 32
"""Number of perturbations in memory at once if the layout sets no chunk."""


@dataclass(frozen=True)
class FullESConfig:
    """Settings of full-lifetime evolution strategies.

    Attributes:
      population: P, number of members of a generation.
      sigma: standard deviation of the perturbations of theta.
      tasks: number of tasks drawn for each member.
      seeds: number of lifetimes on each task.
      common_random_numbers: members that share tasks and random numbers: each antithetic `pair`,
        the whole `population`, or `none`.
      antithetic: whether members form pairs `theta + sigma eps`, `theta - sigma eps`.
      shaping: fitness shaping: `centered_rank`, `z_score`, `win_loss` (within pairs) or `none` (the
        estimate is then unbiased for the gradient of the smoothed meta-loss).
      clip: maximum absolute difference of the losses of a pair, for unshaped antithetic losses;
        larger ones are clipped; None = no clipping. `win_loss` uses the sign of the difference.
    """

    population: int = 32
    sigma: float = 0.05
    tasks: int = 1
    seeds: int = 1
    common_random_numbers: Sharing = "pair"
    antithetic: bool = True
    shaping: Literal["centered_rank", "z_score", "win_loss", "none"] = "centered_rank"
    clip: float | None = None

    def __post_init__(self) -> None:
        check_positive(
            population=self.population,
            sigma=self.sigma,
            tasks=self.tasks,
            seeds=self.seeds,
            clip=self.clip,
        )
        check_choice("common_random_numbers", self.common_random_numbers, SHARINGS)
        check_choice("shaping", self.shaping, SHAPINGS)
        if self.antithetic and self.population % 2:
            raise ConfigError(
                f"population={self.population} is odd: antithetic members form pairs."
            )
        if self.shaping == "win_loss" and not self.antithetic:
            raise ConfigError("shaping='win_loss' compares within pairs: it needs antithetic=True.")
        if self.clip is not None and not (self.antithetic and self.shaping == "none"):
            raise ConfigError(
                f"clip={self.clip} clips differences of unshaped losses within pairs: it needs "
                "antithetic=True and shaping='none'."
            )
        if self.common_random_numbers == "pair" and not self.antithetic:
            raise ConfigError(
                "common_random_numbers='pair' needs antithetic=True. Permitted without pairs: "
                "'population', 'none'."
            )


@dataclass(frozen=True)
class FullES:
    """The estimator `1 / (P sigma) sum_i s_i eps_i L(theta + sigma s_i eps_i)`, stateless.

    `L` is the meta-loss, shaped within each unroll and averaged over unrolls; `s_i` is -1 for the
    second member of a pair. Perturbations are recomputed from keys where they are needed, so memory
    does not grow with the population.

    Attributes:
      config: settings.
      unrolls: U unrolls whose meta-losses evaluate a theta, such as one for each environment.
      layout: distribution of lifetimes over devices and chunks.
      summary: function from logs to further scalars of a lifetime, for reports; None = no scalars.

    Reference: Salimans et al. 2017, arXiv:1703.03864, algorithm 2.
    """

    config: FullESConfig
    unrolls: tuple[Unroll, ...]
    layout: Layout = field(default_factory=Layout)
    summary: Summary | None = None

    def __post_init__(self) -> None:
        if not self.unrolls:
            raise ConfigError("unrolls is empty: at least one unroll is needed to evaluate theta.")

    def init(self, key: Key, theta: Theta) -> tuple[()]:
        """Returns the empty state."""
        del key, theta
        return ()

    def estimate(self, key: Key, theta: Theta, state: tuple[()]) -> tuple[Estimate, tuple[()]]:
        """Estimates the gradient at `theta`; zero if all members diverged in all unrolls."""
        config = self.config
        key_noise, key_unrolls = split_named(key, "noise", "lives")
        evaluation = evaluate(
            self.unrolls,
            self.layout,
            lambda member: self.member_theta(key_noise, theta, member),
            config.population,
            key_unrolls,
            common_random_numbers=config.common_random_numbers,
            tasks=config.tasks,
            seeds=config.seeds,
            summary=self.summary,
        )
        losses, diverged = replace_diverged(evaluation.losses)
        if config.clip is not None:
            differences = clipped(losses[:, 0::2] - losses[:, 1::2], config.clip)
            weights = jnp.mean(differences, axis=0)
        else:
            weights = shaped_mean(losses, config.shaping)
            weights = weights[0::2] - weights[1::2] if config.antithetic else weights
        chunk = self.layout.chunk or NOISE_CHUNK
        total = weighted_noise(key_noise, theta, weights, chunk)
        scale = 1.0 / (config.population * config.sigma)
        gradient = jax.tree.map(lambda x: scale * x, total)
        mean_losses = jnp.mean(losses, axis=0)
        return Estimate(gradient, mean_losses, diverged, losses, evaluation.summary), state

    def member_theta(self, key_noise: Key, theta: Theta, member: Array) -> Theta:
        """Returns the perturbed theta of a member, given its index."""
        config = self.config
        source = member // 2 if config.antithetic else member
        sign = 1 - 2 * (member % 2) if config.antithetic else jnp.ones_like(member)
        noise = noise_of(key_noise, theta, source)
        return jax.tree.map(
            lambda x, eps: x + config.sigma * sign.astype(eps.dtype) * eps, theta, noise
        )


def noise_of(key: Key, theta: Theta, source: Array) -> PyTree:
    """Draws the perturbation with index `source`: standard normal, shaped like theta."""
    return normal_like(jax.random.fold_in(named(key, "perturbation"), source), theta)


def weighted_noise(key: Key, theta: Theta, weights: Array, chunk: int) -> PyTree:
    """Computes `sum_i weights_i eps_i`, with at most `chunk` perturbations in memory at once.

    Args:
      key: PRNG key of the perturbations.
      theta: pytree with the shapes of a perturbation.
      weights: weight of each perturbation, `[M]`.
      chunk: number of perturbations that are drawn together.
    """
    count = weights.shape[0]
    chunk = min(chunk, count)
    steps = -(-count // chunk)
    padded = jnp.pad(weights, (0, steps * chunk - count)).reshape(steps, chunk)
    sources = jnp.arange(steps * chunk).reshape(steps, chunk)

    def add(total: PyTree, inputs: tuple[Array, Array]) -> tuple[PyTree, None]:
        weights, sources = inputs
        noise = jax.vmap(lambda source: noise_of(key, theta, source))(sources)
        # The default precision rounds to bfloat16 or TF32 on accelerators.
        partial = jax.tree.map(
            lambda eps: jnp.tensordot(
                weights.astype(eps.dtype), eps, axes=1, precision=jax.lax.Precision.HIGHEST
            ),
            noise,
        )
        return jax.tree.map(jnp.add, total, partial), None

    zero = jax.tree.map(jnp.zeros_like, theta)
    return jax.lax.scan(add, zero, (padded, sources))[0]
