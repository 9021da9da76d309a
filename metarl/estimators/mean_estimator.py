"""Mean of several estimators: one meta-loss that averages those of several task distributions."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp

from metarl.core.contracts import Estimate, Estimator
from metarl.core.errors import ConfigError
from metarl.core.types import Key, PyTree, Theta


@dataclass(frozen=True)
class MeanEstimator:
    """Averages the estimates of several estimators, each with its own unrolls.

    Meta-trains one theta on tasks of different shapes, which cannot be stacked in one array. The
    losses of the estimators must be on comparable scales.

    Attributes:
      estimators: one or more estimators, all with the same number of losses.
    """

    estimators: tuple[Estimator, ...]

    def __post_init__(self) -> None:
        if not self.estimators:
            raise ConfigError("MeanEstimator needs at least one estimator.")

    def init(self, key: Key, theta: Theta) -> tuple[PyTree, ...]:
        """Returns the states of all estimators."""
        keys = jax.random.split(key, len(self.estimators))
        return tuple(one.init(k, theta) for one, k in zip(self.estimators, keys, strict=True))

    def estimate(
        self, key: Key, theta: Theta, state: tuple[PyTree, ...]
    ) -> tuple[Estimate, tuple[PyTree, ...]]:
        """Averages the gradients; the mean is not finite if one gradient is not finite.

        Losses of all estimators are concatenated; unroll losses have a row for each, `[U, P]`.
        """
        keys = jax.random.split(key, len(self.estimators))
        results = [
            one.estimate(k, theta, entry)
            for one, k, entry in zip(self.estimators, keys, state, strict=True)
        ]
        estimates = [estimate for estimate, _ in results]
        gradient = jax.tree.map(
            lambda *x: sum(x) / len(x), *(estimate.gradient for estimate in estimates)
        )
        summaries = [estimate.summary or {} for estimate in estimates]
        combined = Estimate(
            gradient,
            losses=jnp.concatenate([estimate.losses for estimate in estimates]),
            diverged=jnp.sum(jnp.stack([estimate.diverged for estimate in estimates])),
            unroll_losses=jnp.stack([estimate.losses for estimate in estimates]),
            summary={
                name: jnp.concatenate([summary[name] for summary in summaries])
                for name in summaries[0]
            },
        )
        return combined, tuple(entry for _, entry in results)
