"""Prioritized level replay (PLR): levels with high scores are sampled again.

Jiang et al. 2021, arXiv:2010.03934; with regret as the score, Jiang et al. 2021, arXiv:2110.02439;
for meta-learning, where an agent is trained on a level for a whole lifetime, Jackson et al. 2023,
arXiv:2310.02782. A level is a task of any distribution; the buffer holds `C` levels.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp

from metarl.core import trees
from metarl.core.contracts import TaskDistribution
from metarl.core.errors import ConfigError, check_choice, check_positive, check_range
from metarl.core.keys import split_named
from metarl.core.types import Array, Key, Task
from metarl.tasks.curricula.priorities import PRIORITIZATIONS, log_shares, mix_with_staleness

NO_SLOT = -1
"""Slot of an unroll that needs no task, or of a level for which no buffer entry was free."""


@dataclass(frozen=True)
class LevelReplayConfig:
    """Settings of prioritized level replay.

    Attributes:
      capacity: C, levels kept.
      replay_probability: probability that a new unroll replays a level of the buffer.
      prioritisation: how scores become weights, a name of `PRIORITIZATIONS`.
      temperature: of the weights; the smaller, the more the best levels are preferred.
      staleness: share of replays that go by how long ago a level was last handed out.
      minimum_fill: share of the buffer that has to be evaluated before anything is replayed.
    """

    capacity: int = 4000
    replay_probability: float = 0.5
    prioritisation: str = "rank"
    temperature: float = 1.0
    staleness: float = 0.1
    minimum_fill: float = 0.1

    def __post_init__(self) -> None:
        check_positive(capacity=self.capacity, temperature=self.temperature)
        check_choice("prioritisation", self.prioritisation, PRIORITIZATIONS)
        check_range(
            0, 1,
            replay_probability=self.replay_probability,
            staleness=self.staleness,
            minimum_fill=self.minimum_fill,
        )  # fmt: skip

    @property
    def needed(self) -> int:
        """Number of evaluated levels before any level is replayed."""
        return math.ceil(self.minimum_fill * self.capacity)


class LevelBuffer(NamedTuple):
    """Buffer of levels and their scores; leaves `[C, ...]` except for `clock`.

    Attributes:
      levels: tasks; undefined in an entry with no plays.
      scores: scores of the last reported lifetime; undefined unless evaluated.
      evaluated: whether a finite score was reported since the level was inserted.
      in_use: whether a lifetime on the level is running.
      plays: number of times the level was sampled; 0 = the entry was never filled.
      last_played: value of `clock` when the level was last sampled.
      clock: number of levels sampled so far, an int32 scalar.
    """

    levels: Task
    scores: Array
    evaluated: Array
    in_use: Array
    plays: Array
    last_played: Array
    clock: Array


@dataclass(frozen=True)
class LevelReplay:
    """Curriculum with a level buffer.

    A level is fresh, then in use, then evaluated; from there it is replayed or overwritten. One in
    use is neither, so no two unrolls share a level. A lifetime whose score is not finite says
    nothing: its level is no longer evaluated, and its entry is the next to be overwritten.

    Jackson et al. also train on new levels; robust PLR excludes them from the gradient. This class
    leaves that to the caller.

    Attributes:
      config: settings.
      tasks: distribution over new levels.
    """

    config: LevelReplayConfig
    tasks: TaskDistribution

    def check_capacity(self, unrolls: int) -> None:
        """Checks that the buffer has room for N unrolls beside `minimum_fill`.

        Raises:
          ConfigError: the capacity is too small.
        """
        config = self.config
        if unrolls + config.needed > config.capacity:
            raise ConfigError(
                f"capacity must be at least {unrolls + config.needed} for {unrolls} unrolls and "
                f"minimum_fill {config.minimum_fill}, got {config.capacity}."
            )

    def init(self, key: Key) -> LevelBuffer:
        """Returns an empty buffer."""
        capacity = self.config.capacity

        def repeat(x: Array) -> Array:
            x = jnp.asarray(x)
            x = jnp.asarray(x, x.dtype)  # not weakly typed, like a restored state
            return jnp.broadcast_to(x, (capacity, *x.shape))

        return LevelBuffer(
            levels=jax.tree.map(repeat, self.tasks.sample(key)),
            scores=jnp.zeros((capacity,), jnp.float32),
            evaluated=jnp.zeros((capacity,), bool),
            in_use=jnp.zeros((capacity,), bool),
            plays=jnp.zeros((capacity,), jnp.int32),
            last_played=jnp.zeros((capacity,), jnp.int32),
            clock=jnp.zeros((), jnp.int32),
        )

    def draw(self, key: Key, state: LevelBuffer, wanted: Array) -> tuple[Task, Array, LevelBuffer]:
        """Draws a level for every new unroll: a replayed or a fresh one.

        Replayed levels are drawn sequentially, without replacement, by `probabilities`; an unroll
        for which none is left gets a fresh level. A fresh level takes an entry that is free and not
        evaluated, else the free one with the lowest score.

        Args:
          key: PRNG key of the draw.
          state: level buffer.
          wanted: mask of the unrolls that start a lifetime, booleans `[N]`.

        Returns:
          Tasks `[N, ...]`; slots `[N]`, the index of each task in the buffer, `NO_SLOT` where
          `wanted` is false; and the buffer. Draws without reports exhaust the entries: fresh levels
          then are not kept and have `NO_SLOT` too.

        Raises:
          ConfigError: the buffer is too small for N unrolls beside `minimum_fill`.
        """
        config, unrolls = self.config, wanted.shape[0]
        self.check_capacity(unrolls)
        key_coins, key_levels, key_fresh = split_named(key, "coins", "levels", "fresh")
        coins = jax.random.bernoulli(key_coins, config.replay_probability, (unrolls,))
        enough = jnp.sum(state.evaluated) >= config.needed
        # Gumbel top-k: the largest sums of log-probability and noise sample without replacement.
        noise = jax.random.gumbel(key_levels, (config.capacity,))
        replayed, is_replay = _best(self._log_probabilities(state) + noise, wanted & coins & enough)
        blocked = state.in_use.at[replayed].set(True, mode="drop")
        worth_least = jnp.where(state.evaluated, -state.scores, jnp.inf)
        placed, is_placed = _best(jnp.where(blocked, -jnp.inf, worth_least), wanted & ~is_replay)

        fresh = jax.vmap(self.tasks.sample)(jax.random.split(key_fresh, unrolls))
        kept = jax.tree.map(lambda x: jnp.take(x, replayed, axis=0, mode="clip"), state.levels)
        entries = jnp.where(is_replay, replayed, placed)
        clock = state.clock + jnp.sum(wanted, dtype=jnp.int32)
        state = LevelBuffer(
            levels=jax.tree.map(
                lambda all_, new: all_.at[placed].set(new, mode="drop"), state.levels, fresh
            ),
            scores=state.scores,
            evaluated=state.evaluated.at[placed].set(False, mode="drop"),
            in_use=state.in_use.at[entries].set(True, mode="drop"),
            plays=state.plays.at[placed].set(0, mode="drop").at[entries].add(1, mode="drop"),
            last_played=state.last_played.at[entries].set(clock, mode="drop"),
            clock=clock,
        )
        slots = jnp.where(is_replay | is_placed, entries, NO_SLOT)
        return trees.where(is_replay, kept, fresh), slots, state

    def report(self, state: LevelBuffer, slots: Array, scores: Array, ended: Array) -> LevelBuffer:
        """Writes the scores `[N]` of the lifetimes that `ended`, and frees their levels.

        A score that is not finite leaves its level not evaluated. What is reported of an entry
        that is not in use is ignored.
        """
        in_use = jnp.take(state.in_use, slots, mode="clip") & (slots >= 0)
        entries = jnp.where(ended & in_use, slots, self.config.capacity)
        finite = jnp.isfinite(scores)
        written = jnp.where(finite, scores, 0.0).astype(state.scores.dtype)
        return state._replace(
            scores=state.scores.at[entries].set(written, mode="drop"),
            evaluated=state.evaluated.at[entries].set(finite, mode="drop"),
            in_use=state.in_use.at[entries].set(False, mode="drop"),
        )

    def probabilities(self, state: LevelBuffer) -> Array:
        """Returns the probability `[C]` of each level to be replayed next; zero if it cannot be.

        It is `(1 - staleness) P_score + staleness P_stale` over the levels that are evaluated and
        not in use, with `P_stale` proportional to the age.
        """
        return jnp.exp(self._log_probabilities(state))

    def _log_probabilities(self, state: LevelBuffer) -> Array:
        config, can = self.config, state.evaluated & ~state.in_use
        weights = PRIORITIZATIONS[config.prioritisation](state.scores, can, config.temperature)
        age = (state.clock - state.last_played).astype(jnp.float32)
        by_age = log_shares(jnp.where(can, jnp.log(age), -jnp.inf), can)
        return mix_with_staleness(log_shares(weights, can), by_age, config.staleness)

    def snapshot(self, state: LevelBuffer) -> dict[str, Task]:
        """Returns the buffer content for logging.

        Returns:
          By name, all `[C, ...]`: `levels`; `scores`, NaN unless evaluated; `ages`, levels sampled
          since the level was last; `plays`, 0 = never filled; `probabilities` of a replay;
          `evaluated` and `in_use`.
        """
        return {
            "levels": state.levels,
            "scores": jnp.where(state.evaluated, state.scores, jnp.nan),
            "ages": state.clock - state.last_played,
            "plays": state.plays,
            "probabilities": self.probabilities(state),
            "evaluated": state.evaluated,
            "in_use": state.in_use,
        }


def _best(priority: Array, wanted: Array) -> tuple[Array, Array]:
    """Assigns the r-th highest priority to the r-th wanted unroll, never one at minus infinity.

    Returns:
      Entries `[N]`, C where an unroll has none, and whether it has one `[N]`.
    """
    highest, entries = jax.lax.top_k(priority, wanted.shape[0])
    turn = jnp.maximum(jnp.cumsum(wanted) - 1, 0)
    found = wanted & (highest[turn] > -jnp.inf)
    return jnp.where(found, entries[turn], priority.shape[0]), found
