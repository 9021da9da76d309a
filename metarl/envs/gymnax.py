"""Environments of gymnax 1.x, as `gymnax/NAME`.

The adapter calls gymnax's dynamics (`reset_env`, `step_env`, `is_truncated`), never its
autoresetting `step`. In 1.0.1 `done` of `step_env` is termination; the limit
`max_steps_in_episode` is separate and becomes `truncated`, unless the step terminated.

`params` is gymnax's parameter class with every number an array, `max_steps_in_episode` included;
no shape depends on any of them, so all can be batched. Values on which shapes depend
(`DeepSea(size=...)`) are constructor arguments, fixed when the environment is made.

Peculiarities of gymnax 1.0.1 that the adapter keeps:
  - The bandits (SimpleBandit, BernoulliBandit, GaussianBandit), PointRobot, MetaMaze, Reacher,
    Swimmer and MemoryChain sample their task in reset: another episode is another task.
  - PointRobot and MetaMaze relocate the agent when it reaches the goal, in the same step: the
    observation after a goal shows the new position. MetaMaze terminates only if that position is
    the goal again. Freeway and Catch reset the chicken and a fallen ball in the same way.
  - Episodes of the two stochastic bandits, DiscountingChain, Freeway and the continuous tasks other
    than MountainCarContinuous never terminate, they are truncated.
  - Some observations exceed the bounds declared by gymnax: MemoryChain (context -1),
    DiscountingChain (context -1 before the first action), GaussianBandit and BernoulliBandit.
  - MNISTBandit downloads MNIST when it is made, and reads its pixels as signed bytes: the bright
    half comes out negative.
"""

import importlib
import inspect
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from metarl.core.dtypes import cast_like, strongly_typed
from metarl.core.errors import ConfigError
from metarl.core.options import check_options, check_types
from metarl.core.types import Array, Key
from metarl.envs._adapt import param_like
from metarl.envs.protocol import Draws, Environment, EnvParams, EnvState, Step
from metarl.envs.spaces import Box, Discrete, Space

NAMES = (
    "CartPole-v1",
    "Pendulum-v1",
    "Acrobot-v1",
    "MountainCar-v0",
    "MountainCarContinuous-v0",
    "Asterix-MinAtar",
    "Breakout-MinAtar",
    "Freeway-MinAtar",
    "Seaquest-MinAtar",
    "SpaceInvaders-MinAtar",
    "Catch-bsuite",
    "DeepSea-bsuite",
    "MemoryChain-bsuite",
    "UmbrellaChain-bsuite",
    "DiscountingChain-bsuite",
    "MNISTBandit-bsuite",
    "SimpleBandit-bsuite",
    "FourRooms-misc",
    "MetaMaze-misc",
    "PointRobot-misc",
    "BernoulliBandit-misc",
    "GaussianBandit-misc",
    "Reacher-misc",
    "Swimmer-misc",
    "Pong-misc",
    "FrozenLake-misc",
)
"""Environments registered in gymnax; a list, so that listing names does not import gymnax."""


def make(name: str, **options: Any) -> Environment:
    """Makes a registered gymnax environment.

    Args:
      name: name in gymnax, such as `CartPole-v1`.
      **options: arguments of the environment's constructor (`size=10`), and fields of its
        parameters (`max_steps_in_episode=200`), which become defaults.

    Raises:
      ConfigError: an option is unknown or has the wrong type, or data cannot be downloaded.
    """
    library = importlib.import_module("gymnax")
    env, defaults = _construct(library, name)
    arguments = set(inspect.signature(type(env)).parameters) & set(options)
    check_options(f"gymnax/{name}", options, _permitted(env, defaults))
    if arguments:
        check_types(f"gymnax/{name}", {key: options[key] for key in arguments}, type(env))
        env, defaults = _construct(library, name, **{key: options[key] for key in arguments})
    defaults = strongly_typed(defaults)
    changed = {
        key: param_like(f"gymnax/{name}", key, value, getattr(defaults, key))
        for key, value in options.items()
        if key not in arguments
    }
    return adapt(env, defaults.replace(**changed), f"gymnax/{name}")


def adapt(env: Any, params: EnvParams, name: str) -> Environment:
    """Adapts any `gymnax.environments.environment.Environment`, registered or not.

    Rewards become float32 scalars. Observations become float32; integers of a Discrete space become
    one-hot vectors. A Box with elementwise bounds gets the widest ones.

    Args:
      env: gymnax environment.
      params: parameters of the environment; numbers become arrays.
      name: name of the adapted environment.

    Raises:
      ConfigError: a space is neither Discrete nor Box.
    """
    params = strongly_typed(params)
    observation_space, observe = _adapt_observations(name, env.observation_space(params))

    def reset(key: Key, params: EnvParams) -> tuple[Array, EnvState]:
        obs, state = env.reset_env(key, params)
        return observe(obs), strongly_typed(state)

    def transition(draws: Draws, state: EnvState, action: Array, params: EnvParams) -> Step:
        obs, following, reward, terminated, info = env.step_env(draws, state, action, params)
        terminated = jnp.asarray(terminated, bool)
        truncated = jnp.asarray(env.is_truncated(following, params), bool) & ~terminated
        return Step(
            obs=observe(obs),
            state=cast_like(following, state),
            reward=jnp.asarray(reward, jnp.float32),
            terminated=terminated,
            truncated=truncated,
            info=strongly_typed(info),
        )

    return Environment(
        name=name,
        reset=reset,
        transition=transition,
        observation_space=observation_space,
        action_space=_adapt_space(name, env.action_space(params)),
        default_params=params,
    )


def _construct(library: Any, name: str, **arguments: Any) -> tuple[Any, Any]:
    try:
        return library.make(name, **arguments)
    except OSError as error:
        raise ConfigError(
            f"gymnax/{name} reads a data set that is neither on this machine nor can be "
            f"downloaded: {error}."
        ) from error
    except (TypeError, ValueError, AssertionError) as error:
        raise ConfigError(f"gymnax/{name} refused its options {arguments}: {error}") from error


def _permitted(env: Any, params: Any) -> set[str]:
    fields = set(params.__dataclass_fields__)
    return set(inspect.signature(type(env)).parameters) | fields


def _adapt_observations(name: str, space: Any) -> tuple[Space, Callable[[Array], Array]]:
    adapted = _adapt_space(name, space)
    if isinstance(adapted, Discrete):
        size = adapted.n
        return Box(0.0, 1.0, (size,)), lambda obs: jax.nn.one_hot(obs, size, dtype=jnp.float32)
    return adapted, lambda obs: jnp.asarray(obs, jnp.float32)


def _adapt_space(name: str, space: Any) -> Space:
    if type(space).__name__ == "Discrete":
        return Discrete(int(space.n))
    if type(space).__name__ == "Box":
        low, high = float(np.min(space.low)), float(np.max(space.high))
        largest = float(np.finfo(np.float32).max)
        # gymnax represents "unbounded" by the largest float.
        return Box(
            low if low > -largest else -np.inf, high if high < largest else np.inf, space.shape
        )
    raise ConfigError(f"{name} has a space that is neither Discrete nor Box: {space}.")
