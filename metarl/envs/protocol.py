"""The environment protocol.

An environment is immutable: pure functions and a static description. The task is in `params`, so K
episodes on one task are K resets with the same `params`. Environments do not reset themselves;
autoreset is a wrapper.

The random numbers of a step are sampled separately: `draw` samples them from a key, `transition`
takes them as an argument, and `step` calls both. A rollout can sample the random numbers of all `T`
steps at once, outside its scan, which is several times faster on CPU. User code calls `step`.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, TypeAlias

from metarl.core.types import Array, Key, PyTree
from metarl.envs.spaces import Space

EnvState: TypeAlias = PyTree
EnvParams: TypeAlias = PyTree
Draws: TypeAlias = PyTree
"""Random numbers of one step, sampled ahead; for most environments the key itself."""


class Step(NamedTuple):
    """Result of one step.

    Attributes:
      obs: next observation; with autoreset, the first observation of the new episode where an
        episode ended, and `info["final_obs"]` is then the final observation.
      state: environment state.
      reward: reward, a scalar.
      terminated: whether the episode terminated (bool); the value of the next state is zero.
      truncated: whether the episode was truncated by a limit (bool); bootstrap from the next state.
      info: further arrays, with the same keys at every step.
    """

    obs: Array
    state: EnvState
    reward: Array
    terminated: Array
    truncated: Array
    info: dict[str, Any]

    @property
    def done(self) -> Array:
        """Whether the episode terminated or was truncated."""
        return self.terminated | self.truncated


def key_is_the_draw(key: Key, params: EnvParams) -> Draws:
    """Returns the key: the default `draw`, for transitions that sample from the key."""
    del params
    return key


@dataclass(frozen=True, eq=False)
class Environment:
    """An environment, or a wrapped one.

    Attributes:
      name: registered name, such as `gymnax/CartPole-v1`.
      reset: `(key, params) -> (obs, state)`.
      transition: `(draws, state, action, params) -> Step`.
      observation_space: observation space of one (unbatched) environment.
      action_space: action space of one (unbatched) environment.
      default_params: parameters of the default task.
      draw: `(key, params) -> draws`.
      sample_params: `key -> params`, for environments that are a distribution over tasks; None =
        only the default task.
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
        """Samples a task; so an environment is a `TaskDistribution`."""
        return self.default_params if self.sample_params is None else self.sample_params(key)

    def replace(self, **changes: Any) -> "Environment":
        """Returns a copy with some fields changed; used by wrappers."""
        return replace(self, **changes)
