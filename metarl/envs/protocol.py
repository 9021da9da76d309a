"""The environment protocol.

An environment is a value: two pure functions and its static description. The task lives in
`params`, so K episodes on one task are K resets with the same `params`. Resetting is never hidden:
autoreset is a wrapper.

A step's randomness is drawn apart from the step itself: `draw` makes it from a key, `transition`
consumes it, and `step` is the two together. A rollout can thus draw the randomness of all `T` steps
at once, outside its scan, which on CPU is worth a factor; user code just calls `step`.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, TypeAlias

from metarl.core.types import Array, Key, PyTree
from metarl.envs.spaces import Space

EnvState: TypeAlias = PyTree
EnvParams: TypeAlias = PyTree
Draws: TypeAlias = PyTree
"""Randomness of one step, drawn ahead; for most environments the key itself."""


class Step(NamedTuple):
    """Result of one step.

    Attributes:
      obs: observation to act on next; under autoreset the first one of the new episode where the
        old one ended, and then `info["final_obs"]` is the observation that this step led to.
      state: environment state.
      reward: scalar.
      terminated: the task ended here, future value is zero (bool).
      truncated: the episode was cut here by a limit, and not terminated (bool): bootstrap.
      info: further arrays; the same keys at every step.
    """

    obs: Array
    state: EnvState
    reward: Array
    terminated: Array
    truncated: Array
    info: dict[str, Any]

    @property
    def done(self) -> Array:
        """Whether the episode ended, for whichever reason."""
        return self.terminated | self.truncated


def key_is_the_draw(key: Key, params: EnvParams) -> Draws:
    """The default `draw`: randomness is made from the key inside the transition."""
    del params
    return key


@dataclass(frozen=True, eq=False)
class Environment:
    """An environment, or a wrapped one.

    Attributes:
      name: registered name, such as `gymnax/CartPole-v1`.
      reset: `(key, params) -> (obs, state)`.
      transition: `(draws, state, action, params) -> Step`.
      observation_space: of one (unbatched) environment.
      action_space: of one (unbatched) environment.
      default_params: the default task.
      draw: `(key, params) -> draws`.
      sample_params: `key -> params`, where the environment is a distribution over tasks; None = it
        has one task, the default one.
      optimal_return: `params -> expected return of an optimal policy`, an oracle; None = unknown.
      batch_shape: leading axes of observations, rewards and states; `()` or `(B,)`.
    """

    name: str
    reset: Callable[[Key, EnvParams], tuple[Array, EnvState]]
    transition: Callable[[Draws, EnvState, Array, EnvParams], Step]
    observation_space: Space
    action_space: Space
    default_params: EnvParams
    draw: Callable[[Key, EnvParams], Draws] = key_is_the_draw
    sample_params: Callable[[Key], EnvParams] | None = None
    optimal_return: Callable[[EnvParams], Array] | None = None
    batch_shape: tuple[int, ...] = ()

    def step(self, key: Key, state: EnvState, action: Array, params: EnvParams) -> Step:
        """Takes one step."""
        return self.transition(self.draw(key, params), state, action, params)

    def sample(self, key: Key) -> EnvParams:
        """Draws a task; so an environment is a `TaskDistribution`."""
        return self.default_params if self.sample_params is None else self.sample_params(key)

    def replace(self, **changes: Any) -> "Environment":
        """Returns a copy with some fields changed; how wrappers are written."""
        return replace(self, **changes)
