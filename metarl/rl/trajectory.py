"""Experience: what an actor hands to whatever learns from it."""

from typing import NamedTuple

from metarl.core.types import Array, PyTree


class Trajectory(NamedTuple):
    """Experience `[T, B, ...]`.

    Attributes:
      obs: what was seen.
      next_obs: what each step led to; at an episode's end its final observation.
      action: what was done.
      behaviour_params: parameters of the action distribution that was sampled.
      reward: as the learner is to see it.
      terminated: whether the task ended.
      done: whether the episode ended, for whichever reason.
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
