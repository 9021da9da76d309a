"""Several estimators at once: one meta-loss that is the mean of theirs."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp

from metarl.core.contracts import Estimate, Estimator
from metarl.core.errors import ConfigError
from metarl.core.types import Key, PyTree, Theta


@dataclass(frozen=True)
class Several:
    """The mean of the estimates of several estimators, each with lives of its own.

    So that one theta learns on tasks of several shapes, which cannot lie side by side in one array.
    Their losses must be on scales that compare.

    Attributes:
      estimators: at least one, all with the same number of losses.
    """

    estimators: tuple[Estimator, ...]

    def __post_init__(self) -> None:
        if not self.estimators:
            raise ConfigError("Several estimators need at least one.")

    def init(self, key: Key, theta: Theta) -> tuple[PyTree, ...]:
        """The state of each."""
        keys = jax.random.split(key, len(self.estimators))
        return tuple(one.init(k, theta) for one, k in zip(self.estimators, keys, strict=True))

    def estimate(
        self, key: Key, theta: Theta, state: tuple[PyTree, ...]
    ) -> tuple[Estimate, tuple[PyTree, ...]]:
        """Asks each in turn. An estimate that is not finite makes the mean so too.

        Losses are those of all, one after the other; unroll losses have a row for each, `[U, P]`.
        """
        keys = jax.random.split(key, len(self.estimators))
        found = [
            one.estimate(k, theta, entry)
            for one, k, entry in zip(self.estimators, keys, state, strict=True)
        ]
        estimates = [estimate for estimate, _ in found]
        gradient = jax.tree.map(
            lambda *x: sum(x) / len(x), *(estimate.gradient for estimate in estimates)
        )
        summaries = [estimate.summary or {} for estimate in estimates]
        together = Estimate(
            gradient,
            losses=jnp.concatenate([estimate.losses for estimate in estimates]),
            diverged=jnp.sum(jnp.stack([estimate.diverged for estimate in estimates])),
            unroll_losses=jnp.stack([estimate.losses for estimate in estimates]),
            summary={
                name: jnp.concatenate([summary[name] for summary in summaries])
                for name in summaries[0]
            },
        )
        return together, tuple(entry for _, entry in found)
