"""Delayed chain MDPs: the first action determines a reward many steps later.

An episode has `length` steps and two actions. The reward of the last step is +1 if the first action
was the good one, else -1; then the episode terminates. No other action has an effect. In noisy
chains every step between the first and the last has a random reward of +1 or -1.

The optimal expected return is 1 in every chain (`OPTIMAL_RETURN`). A policy whose first action is
the good one with probability p has expected return `2p - 1` (`policy_return`).

Reference: Oh et al. 2020, arXiv:2007.08794, appendix A.3, where lengths are drawn from 5 to 30
(short) or to 50 (long) and the distracting observation has 22 bits, 20 of them random. [unchecked]:
that the first step has no noise, and the meaning of the two other bits. Here the good action is
fixed in a task, since the tabular observation does not contain it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp

from metarl.core.errors import check_choice, check_positive, check_range
from metarl.core.keys import split_named
from metarl.core.options import check_options
from metarl.core.types import Array, Key
from metarl.envs.protocol import Environment, Step
from metarl.envs.spaces import Box, Discrete

OPTIMAL_RETURN = 1.0
"""Expected return of the good first action, in every chain."""


class Chain(NamedTuple):
    """The task.

    Attributes:
      length: steps of an episode, int32 scalar.
      good_action: first action that is rewarded at the end, int32 scalar.
      noise: magnitude of the random rewards, float32 scalar; 0 = none.
    """

    length: Array
    good_action: Array
    noise: Array


class ChainState(NamedTuple):
    """State of an episode.

    Attributes:
      time: steps taken, int32 scalar.
      good: whether the first action was the good one, bool scalar; False before it.
    """

    time: Array
    good: Array


class ChainDraws(NamedTuple):
    """Random numbers of one step: the sign of the random reward, and distractor bits `[D]`."""

    sign: Array
    bits: Array


@dataclass(frozen=True)
class ChainDistribution:
    """Random chains with uniform length and good action.

    Attributes:
      longest: largest length; it determines the shape of the tabular observation.
      shortest: smallest length.
      noise: magnitude of the random rewards, see `Chain`.
      distractors: number of random bits in the observation; 0 = the tabular observation.
    """

    longest: int
    shortest: int = 5
    noise: float = 0.0
    distractors: int = 0

    def __post_init__(self) -> None:
        check_positive(shortest=self.shortest)
        check_range(self.shortest, float("inf"), longest=self.longest)
        check_range(0, float("inf"), noise=self.noise, distractors=self.distractors)

    def sample(self, key: Key) -> Chain:
        """Samples one task."""
        key_length, key_action = split_named(key, "length", "good_action")
        return Chain(
            length=jax.random.randint(key_length, (), self.shortest, self.longest + 1),
            good_action=jax.random.randint(key_action, (), 0, 2),
            noise=jnp.asarray(self.noise, jnp.float32),
        )


VARIANTS = {
    "short": ChainDistribution(30),
    "short_noisy": ChainDistribution(30, noise=1.0),
    "long": ChainDistribution(50),
    "long_noisy": ChainDistribution(50, noise=1.0),
    "distractor": ChainDistribution(30, distractors=20),
}
"""The published distributions by name."""

NAMES = tuple(VARIANTS)


def variant(name: str) -> ChainDistribution:
    """Returns a published distribution by its name.

    Raises:
      ConfigError: the name is unknown.
    """
    check_choice("chain variant", name, VARIANTS)
    return VARIANTS[name]


def make(name: str, **unknown: object) -> Environment:
    """Makes the environment of a variant; its default task has the greatest length.

    Raises:
      ConfigError: the variant or an option is unknown.
    """
    check_options(f"chain/{name}", unknown, ())
    return delayed_chain(variant(name), f"chain/{name}")


def delayed_chain(chains: ChainDistribution, name: str = "chain") -> Environment:
    """Makes the environment of all chains of a distribution.

    Observations, float32:
      tabular: the state as a one-hot vector `[2 * longest - 1]`: the start, and for each later step
        one of the two branches, the good one last.
      with distractors: `[2 + D]` bits: whether this is the start, whether the first action was the
        good one, and `D` bits that are random at every step.

    Args:
      chains: distribution over tasks.
      name: name of the environment.
    """
    count = chains.distractors
    observe = _bits if count else _one_hot(2 * chains.longest - 1)

    def reset(key: Key, params: Chain) -> tuple[Array, ChainState]:
        del params
        state = ChainState(jnp.zeros((), jnp.int32), jnp.zeros((), bool))
        return observe(state, jax.random.bernoulli(key, shape=(count,))), state

    def draw(key: Key, params: Chain) -> ChainDraws:
        del params
        key_sign, key_bits = split_named(key, "sign", "bits")
        sign = jax.random.rademacher(key_sign, (), jnp.float32)
        return ChainDraws(sign, jax.random.bernoulli(key_bits, shape=(count,)))

    def transition(draws: ChainDraws, state: ChainState, action: Array, params: Chain) -> Step:
        first = state.time == 0
        good = jnp.where(first, action == params.good_action, state.good)
        time = state.time + 1
        last = time >= params.length
        final = jnp.where(good, 1.0, -1.0)
        between = jnp.where(first, 0.0, params.noise * draws.sign)
        following = ChainState(time, good)
        return Step(
            obs=observe(following, draws.bits),
            state=following,
            reward=jnp.where(last, final, between),
            terminated=last,
            truncated=jnp.zeros((), bool),
            info={},
        )

    shape = (2 + count,) if count else (2 * chains.longest - 1,)
    return Environment(
        name=name,
        reset=reset,
        transition=transition,
        draw=draw,
        sample_params=chains.sample,
        optimal_return=lambda params: jnp.full((), OPTIMAL_RETURN),
        observation_space=Box(0.0, 1.0, shape),
        action_space=Discrete(2),
        default_params=Chain(
            jnp.asarray(chains.longest, jnp.int32),
            jnp.asarray(1, jnp.int32),
            jnp.asarray(chains.noise, jnp.float32),
        ),
    )


def policy_return(probability_of_good: Array | float) -> Array | float:
    """Returns the exact expected return for the probability of the good first action."""
    return 2.0 * probability_of_good - 1.0


def _one_hot(size: int) -> Callable[[ChainState, Array], Array]:
    def observe(state: ChainState, bits: Array) -> Array:
        del bits
        index = jnp.where(state.time == 0, 0, 2 * state.time - 1 + state.good)
        # The observation after the last step is never acted on; it repeats the last state.
        return (jnp.arange(size) == jnp.minimum(index, size - 2 + state.good)).astype(jnp.float32)

    return observe


def _bits(state: ChainState, bits: Array) -> Array:
    relevant = jnp.stack([state.time == 0, state.good])
    return jnp.concatenate([relevant, bits]).astype(jnp.float32)
