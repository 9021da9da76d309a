"""Logs of an agent's lifetime, and the meta-loss computed from them."""

from dataclasses import dataclass
from typing import NamedTuple, Protocol

import jax.numpy as jnp

from metarl.core.errors import check_range
from metarl.core.types import Array


class EpisodeLog(Protocol):
    """Fields that every agent's log of one update has; scalars."""

    @property
    def return_sum(self) -> Array:
        """Sum of the returns of the episodes that ended in this rollout."""
        ...

    @property
    def episodes(self) -> Array:
        """Number of episodes that ended in this rollout."""
        ...

    @property
    def running_return(self) -> Array:
        """Mean return so far of the unfinished episodes."""
        ...

    @property
    def finite(self) -> Array:
        """Whether the agent's loss is finite; a diverged lifetime has no valid score."""
        ...


class PPOLog(NamedTuple):
    """Log of one PPO update; scalars. The last four are means over epochs and minibatches.

    Attributes:
      return_sum: sum of the returns of the episodes that ended, see `EpisodeLog`.
      episodes: number of episodes that ended.
      running_return: mean return so far of the unfinished episodes.
      value_loss: value loss.
      entropy: entropy of the policy, in nats.
      kl: approximate KL(old || new).
      drift: drift penalty.
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
        """Whether the value loss, and so the network, is finite."""
        return jnp.isfinite(self.value_loss)


def mean_return(log: EpisodeLog, last: float) -> Array:
    """Returns the mean return of the episodes that ended in the last fraction of a lifetime.

    If none ended there, it is the mean return so far of the episodes that are unfinished at the
    end. It is NaN if the networks diverged.

    Args:
      log: logs of the K updates, leaves `[K]`.
      last: fraction of the K updates, in (0, 1].
    """
    updates = log.episodes.shape[0]
    window = slice(updates - max(1, round(last * updates)), None)
    episodes = jnp.sum(log.episodes[window])
    mean = jnp.sum(log.return_sum[window]) / jnp.maximum(episodes, 1.0)
    score = jnp.where(episodes > 0, mean, log.running_return[-1])
    return jnp.where(log.finite[-1], score, jnp.nan)


@dataclass(frozen=True)
class MeanReturnLoss:
    """Meta-loss of a lifetime: minus `mean_return` over its last fraction.

    Attributes:
      last: fraction of the updates, in (0, 1].
    """

    last: float

    def __post_init__(self) -> None:
        check_range(1e-6, 1.0, last=self.last)

    def __call__(self, log: EpisodeLog) -> Array:
        """Returns the meta-loss, a scalar."""
        return -mean_return(log, self.last)
