"""What a lifetime of an agent records, and the number that scores it."""

from dataclasses import dataclass
from typing import NamedTuple, Protocol

import jax.numpy as jnp

from metarl.core.errors import check_range
from metarl.core.types import Array


class EpisodeLog(Protocol):
    """What every agent's record of one update has; scalars."""

    @property
    def return_sum(self) -> Array:
        """Sum of the returns of the episodes that ended in this rollout."""
        ...

    @property
    def episodes(self) -> Array:
        """How many ended."""
        ...

    @property
    def running_return(self) -> Array:
        """Mean return so far of the episodes that are under way."""
        ...

    @property
    def finite(self) -> Array:
        """Whether the agent's loss was; a lifetime that diverged must not score."""
        ...


class PPOLog(NamedTuple):
    """Record of one update of the actor-critic; scalars.

    Attributes:
      return_sum: see `EpisodeLog`, like the next two.
      episodes: how many ended.
      running_return: mean return so far of the episodes that are under way.
      value_loss: mean over epochs and minibatches, like those below.
      entropy: of the policy, in nats.
      kl: approximate KL(old || new).
      drift: the rule's penalty.
    """

    return_sum: Array
    episodes: Array
    running_return: Array
    value_loss: Array
    entropy: Array
    kl: Array
    drift: Array

    @property
    def finite(self) -> Array:
        """Whether the networks were still finite."""
        return jnp.isfinite(self.value_loss)


def mean_return(log: EpisodeLog, last: float) -> Array:
    """Mean return of the episodes that ended in the last fraction of a lifetime, a scalar.

    Where none ended there, the mean return so far of the episodes under way at the very end. A
    lifetime whose networks diverged scores NaN, however its episodes went.

    Args:
      log: leaves `[K]`.
      last: fraction of the K updates in (0, 1].
    """
    updates = log.episodes.shape[0]
    window = slice(updates - max(1, round(last * updates)), None)
    episodes = jnp.sum(log.episodes[window])
    mean = jnp.sum(log.return_sum[window]) / jnp.maximum(episodes, 1.0)
    score = jnp.where(episodes > 0, mean, log.running_return[-1])
    return jnp.where(log.finite[-1], score, jnp.nan)


@dataclass(frozen=True)
class MeanReturnLoss:
    """Minus `mean_return` over the last fraction of a lifetime; see there."""

    last: float

    def __post_init__(self) -> None:
        check_range(1e-6, 1.0, last=self.last)

    def __call__(self, log: EpisodeLog) -> Array:
        """Scores a lifetime."""
        return -mean_return(log, self.last)
