"""Probe environments: the smallest ones on which one part of a learner can fail.

Each is a function that returns a `Probe`: an environment of the protocol (not batched, not
autoreset) and what a correct learner must find in it, worked out by hand. If the value of
`constant_reward` is wrong, look at the value loss; of `reward_is_observation`, at the network's
input; of `two_steps`, at discounting; of `truncation`, at
bootstrapping. If a value is right and
the action wrong, look at the advantage and the policy gradient.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from metarl.envs import Box, Discrete, Environment, Step
from metarl.envs.spaces import Space

FLIP = Discrete(2)
TARGET = 0.5
"""Optimal action of `continuous_target`."""


class Probe(NamedTuple):
    """An environment with its solution.

    Attributes:
      env: the environment.
      gamma: discount under which `values` hold.
      observations: every observation that is acted on, `[O, ...]`.
      values: of these observations under the optimal policy, `[O]`.
      optimal_action: in each of them, `[O]` or `[O, 1]`; None where actions do not matter.
    """

    env: Environment
    gamma: float
    observations: np.ndarray
    values: np.ndarray
    optimal_action: np.ndarray | None = None


class ProbeState(NamedTuple):
    """The observation that is acted on (a sign, -1 or 1), and the step number of the episode."""

    sign: jax.Array
    time: jax.Array


def _make(
    name: str,
    action_space: Space,
    reward: Callable[[ProbeState, Any], Any],
    length: int = 1,
    terminates: bool = True,
    random_sign: bool = False,
    flips: bool = False,
    shows_time: bool = False,
) -> Environment:
    """Builds an episode of `length` steps; the observation is the sign, or the step number."""

    def observe(state: ProbeState) -> jax.Array:
        shown = state.time.astype(jnp.float32) if shows_time else state.sign
        return shown[None]

    def draw_sign(key: jax.Array) -> jax.Array:
        return jax.random.rademacher(key, (), jnp.float32) if random_sign else jnp.float32(1)

    def reset(key: jax.Array, params: Any) -> tuple[jax.Array, ProbeState]:
        del params
        state = ProbeState(draw_sign(key), jnp.int32(0))
        return observe(state), state

    def transition(draws: Any, state: ProbeState, action: jax.Array, params: Any) -> Step:
        del params
        sign = -state.sign if flips else draw_sign(draws)
        following = ProbeState(sign, state.time + 1)
        ended, never = following.time >= length, jnp.bool_(False)
        terminated, truncated = (ended, never) if terminates else (never, ended)
        got = jnp.asarray(reward(state, action), jnp.float32)
        return Step(observe(following), following, got, terminated, truncated, {})

    bound = float(length) if shows_time else 1.0
    return Environment(
        name=f"probe/{name}",
        reset=reset,
        transition=transition,
        observation_space=Box(-bound, bound, (1,)),
        action_space=action_space,
        default_params={},
    )


def _column(*observations: float) -> np.ndarray:
    return np.array(observations, np.float32)[:, None]


def constant_reward() -> Probe:
    """One step, always reward 1: V(1) = 1."""
    env = _make("constant_reward", FLIP, lambda state, action: 1.0)
    return Probe(env, 0.99, _column(1), np.array([1.0]))


def reward_is_observation() -> Probe:
    """One step, reward equals the observation, a fair sign: V(s) = s."""
    env = _make("reward_is_observation", FLIP, lambda state, action: state.sign, random_sign=True)
    return Probe(env, 0.99, _column(-1, 1), np.array([-1.0, 1.0]))


def two_steps(gamma: float = 0.5) -> Probe:
    """Two steps, reward 0 then 1, the observation is the step number: V(0) = gamma, V(1) = 1."""
    env = _make("two_steps", FLIP, lambda state, action: state.time == 1, length=2, shows_time=True)
    return Probe(env, gamma, _column(0, 1), np.array([gamma, 1.0]))


def action_reward() -> Probe:
    """One step, reward 1 for action 1, -1 for action 0: best is 1, V(1) = 1."""
    env = _make("action_reward", FLIP, lambda state, action: 2 * action - 1)
    return Probe(env, 0.99, _column(1), np.array([1.0]), np.array([1]))


def state_action_reward() -> Probe:
    """One step, reward 1 if action 1 meets sign 1 or action 0 meets sign -1, else -1: V(s) = 1."""
    env = _make(
        "state_action_reward",
        FLIP,
        lambda state, action: state.sign * (2 * action - 1),
        random_sign=True,
    )
    return Probe(env, 0.99, _column(-1, 1), np.array([1.0, 1.0]), np.array([0, 1]))


def truncation(steps: int = 5, gamma: float = 0.9) -> Probe:
    """Reward 1 for ever, cut every `steps` steps, the observation never changes.

    With bootstrapping at the cut, V(1) = 1 / (1 - gamma) whatever `steps` is. A learner that takes
    the cut for an end, with `steps = 1`, finds 1 instead. One that bootstraps on the observation
    after the reset passes here, and fails in `truncation_flips`.
    """
    env = _make("truncation", FLIP, lambda state, action: 1.0, length=steps, terminates=False)
    return Probe(env, gamma, _column(1), np.array([1.0 / (1.0 - gamma)]))


def truncation_flips(steps: int = 1, gamma: float = 0.5) -> Probe:
    """The observation flips its sign at every step, reward is 1 in 1 and 0 in -1; cut as above.

    The start is a fair sign. Bootstrapping on the final observation, V(1) = 1 / (1 - gamma^2) and
    V(-1) = gamma / (1 - gamma^2); on the observation after the reset, with `steps = 1`, the two
    would differ by 1 and not by 1 / (1 + gamma).
    """
    env = _make(
        "truncation_flips",
        FLIP,
        lambda state, action: state.sign > 0,
        length=steps,
        terminates=False,
        random_sign=True,
        flips=True,
    )
    return Probe(env, gamma, _column(-1, 1), np.array([gamma, 1.0]) / (1.0 - gamma**2))


def continuous_target() -> Probe:
    """One step, reward -(a - 0.5)^2: best action 0.5 with V(1) = 0."""
    env = _make(
        "continuous_target",
        Box(-1.0, 1.0, (1,)),
        lambda state, action: -jnp.square(action[0] - TARGET),
    )
    return Probe(env, 0.99, _column(1), np.array([0.0]), np.array([[TARGET]]))


def continuous_state_action() -> Probe:
    """One step, reward -(a - s / 2)^2 for a fair sign s: best action s / 2 with V(s) = 0."""
    env = _make(
        "continuous_state_action",
        Box(-1.0, 1.0, (1,)),
        lambda state, action: -jnp.square(action[0] - TARGET * state.sign),
        random_sign=True,
    )
    optimal = TARGET * np.array([[-1.0], [1.0]])
    return Probe(env, 0.99, _column(-1, 1), np.zeros(2), optimal)


PROBES = (
    constant_reward,
    reward_is_observation,
    two_steps,
    action_reward,
    state_action_reward,
    truncation,
    truncation_flips,
    continuous_target,
    continuous_state_action,
)
