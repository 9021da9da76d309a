"""Environments of brax, as `brax/NAME`; needs the extra `metarl[brax]`.

No wrapper of brax is used: `done` of brax's step is termination, the episode length is set by the
wrapper `time_limit`, and metrics are in `info`. Actions lie in [-1, 1] for every environment: brax
rescales or clips them to its actuators.

`params` holds the physics that a task changes: a dict from names of brax's `System`, such as
`"gravity"` or `"link.inertia.mass"`, to arrays. The default is the empty dict. `make(...,
vary=("gravity",))` adds the default values of the parameters to be varied. A backend reads only
part of the `System`: `mjx` reads the fields under `opt` and those with mujoco's names.
"""

import copy
import importlib
import inspect
import warnings
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from metarl.core.dtypes import cast_like, strongly_typed
from metarl.core.errors import ConfigError, check_choice
from metarl.core.options import check_options, check_types
from metarl.core.types import Array, Key
from metarl.envs.protocol import Draws, Environment, EnvParams, EnvState, Step
from metarl.envs.spaces import Box
from metarl.envs.wrappers.time_limit import time_limit

NAMES = (
    "ant",
    "halfcheetah",
    "hopper",
    "humanoid",
    "humanoidstandup",
    "inverted_double_pendulum",
    "inverted_pendulum",
    "pusher",
    "reacher",
    "swimmer",
    "walker2d",
)
"""Environments registered in brax, except the test dummy `fast`; a list, to avoid the import."""

BACKENDS = ("generalized", "mjx", "positional", "spring")


def make(
    name: str,
    backend: str = "generalized",
    episode_length: int = 1000,
    vary: tuple[str, ...] = (),
    **options: Any,
) -> Environment:
    """Makes a brax environment.

    Args:
      name: name in brax, such as `ant`.
      backend: physics pipeline; `spring` and `positional` compile and run fastest.
      episode_length: steps until truncation, without action repeat.
      vary: names of `System` fields whose values are put into `default_params`.
      **options: arguments of the environment's constructor, such as `ctrl_cost_weight`.

    Raises:
      ConfigError: brax is not installed, or an option or one of its values is unknown.
    """
    check_choice("backend", backend, BACKENDS)
    full_name = f"brax/{name}"
    base = _import_brax(full_name)
    constructor = base._envs[name]
    permitted = set(inspect.signature(constructor).parameters)
    permitted |= set(inspect.signature(base.PipelineEnv).parameters) - {"sys", "backend"}
    check_options(full_name, options, permitted - {"kwargs"} | {"episode_length", "vary"})
    check_types(full_name, options, constructor)
    check_types(full_name, options, base.PipelineEnv)
    env = _construct(full_name, constructor, backend=backend, **options)
    params = {entry: _system_value(full_name, env.sys, entry) for entry in vary}
    return time_limit(adapt(env, params, full_name), episode_length)


def adapt(env: Any, params: EnvParams, name: str) -> Environment:
    """Adapts any unwrapped `brax.envs.Env` with array observations, without a time limit.

    Args:
      env: brax environment.
      params: default parameters, a dict as described above.
      name: name of the adapted environment.
    """

    def with_physics(params: EnvParams) -> Any:
        if not params:
            return env
        changed = copy.copy(env)
        changed.sys = env.sys.tree_replace(dict(params))
        return changed

    def reset(key: Key, params: EnvParams) -> tuple[Array, EnvState]:
        state = strongly_typed(with_physics(params).reset(key))
        return state.obs, state

    def transition(draws: Draws, state: EnvState, action: Array, params: EnvParams) -> Step:
        del draws  # brax is random in its reset only
        # brax mutates the dict of metrics.
        own = state.replace(metrics=dict(state.metrics), info=dict(state.info))
        following = cast_like(with_physics(params).step(own, action), state)
        return Step(
            obs=following.obs,
            state=following,
            reward=jnp.asarray(following.reward, jnp.float32),
            terminated=following.done > 0,
            truncated=jnp.bool_(False),
            info=dict(following.metrics),
        )

    obs = jax.eval_shape(lambda: reset(jax.random.key(0), params)[0])
    return Environment(
        name=name,
        reset=reset,
        transition=transition,
        observation_space=Box(-np.inf, np.inf, obs.shape),
        action_space=Box(-1.0, 1.0, (env.action_size,)),
        default_params=params,
    )


def _import_brax(name: str) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return importlib.import_module("brax.envs")
    except ImportError as error:
        raise ConfigError(
            f"{name} needs brax, which cannot be imported ({error}): pip install metarl[brax]."
        ) from error


def _construct(name: str, constructor: Any, **options: Any) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return constructor(**options)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{name} refused its options {options}: {error}") from error


def _system_value(name: str, system: Any, entry: str) -> Array:
    value = system
    try:
        for part in entry.split("."):
            value = getattr(value, part)
        return jnp.asarray(value, jnp.float32)
    except (AttributeError, TypeError, ValueError):
        raise ConfigError(f"{name} has no physics named {entry!r} to vary.") from None
