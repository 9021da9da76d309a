"""Trajectories: the data that learners train on."""

from typing import NamedTuple

from metarl.core.types import Array, PyTree


class Trajectory(NamedTuple):
    """A batch of environment steps `[T, B, ...]`.

    Attributes:
      obs: observations acted on.
      next_obs: observations after each step; at an episode's end its final observation.
      action: actions taken.
      behaviour_params: parameters of the action distribution of the behaviour policy.
      reward: rewards, after normalization if there is any.
      terminated: whether the episode terminated.
      done: whether the episode terminated or was truncated.
      episode_return: return of the current episode so far, this step included.
    """

    obs: Array
    next_obs: Array
    action: Array
    behaviour_params: PyTree
    reward: Array
    terminated: Array
    done: Array
    episode_return: Array
