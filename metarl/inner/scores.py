"""What a lifetime of the actor-critic records, and the number that scores it."""

from dataclasses import dataclass
from typing import NamedTuple

import jax.numpy as jnp

from metarl.core.errors import check_range
from metarl.core.types import Array


class PPOLog(NamedTuple):
    """Record of one update; scalars.

    Attributes:
      return_sum: sum of the returns of the episodes that ended in this rollout.
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


def mean_return(log: PPOLog, last: float) -> Array:
    """Mean return of the episodes that ended in the last fraction of a lifetime, a scalar.

    Where none ended there, the mean return so far of the episodes under way at the very end. A
    lifetime whose networks diverged has a NaN loss and scores NaN, however its episodes went.

    Args:
      log: leaves `[K]`.
      last: fraction of the K updates in (0, 1].
    """
    updates = log.episodes.shape[0]
    window = slice(updates - max(1, round(last * updates)), None)
    episodes = jnp.sum(log.episodes[window])
    mean = jnp.sum(log.return_sum[window]) / jnp.maximum(episodes, 1.0)
    score = jnp.where(episodes > 0, mean, log.running_return[-1])
    return jnp.where(jnp.isfinite(log.value_loss[-1]), score, jnp.nan)


@dataclass(frozen=True)
class MeanReturnLoss:
    """Minus `mean_return` over the last fraction of a lifetime; see there."""

    last: float

    def __post_init__(self) -> None:
        check_range(1e-6, 1.0, last=self.last)

    def __call__(self, log: PPOLog) -> Array:
        """Scores a lifetime."""
        return -mean_return(log, self.last)
