"""Training agents of several kinds on one environment, side by side.

All get the same random numbers (initial networks, environments, minibatch orders), so that their
difference is that of the rules.
"""

import time
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from metarl.core.contracts import Learner, Unroll
from metarl.core.errors import ConfigError, check_positive
from metarl.core.keys import named, split_named
from metarl.core.mesh import Layout, make_mesh, on_mesh
from metarl.core.types import Array, Key, Theta
from metarl.envs import wrappers
from metarl.envs.protocol import Environment
from metarl.evaluation.candidates import Candidate, groups, stacked_thetas
from metarl.evaluation.results import EnvironmentResult
from metarl.inner.rollout import rollout
from metarl.inner.scores import EpisodeLog, MeanReturnLoss, mean_return
from metarl.tasks.lifetimes import TimedTask

SCORE_WINDOW = 0.1
"""A score is the mean return of the episodes that ended in this last fraction of training."""

_CURVE_POINTS = 50
_RANDOM_TASKS, _RANDOM_STEPS = 64, 1024


class _Record(NamedTuple):
    """What is kept of every update of every agent, `[candidates, S, K]`."""

    return_sum: Array
    episodes: Array
    running_return: Array
    finite: Array


def evaluate(
    env: Environment,
    candidates: Mapping[str, Candidate],
    seeds: int,
    key: Key,
    held_out: bool = False,
    layout: Layout | None = None,
) -> EnvironmentResult:
    """Trains `seeds` agents of every candidate on `env`.

    Args:
      env: unbatched environment, without autoreset.
      candidates: name -> agent; all get the same random numbers.
      seeds: S, agents a candidate.
      key: randomness of everything.
      held_out: whether the learned candidates have never seen this environment.
      layout: how seeds are laid over devices; default: every device of this machine.

    Returns:
      Learning curves up to the shortest lifetime, at the points of the candidate that takes most
      steps between updates; and the final scores, each at the end of its own lifetime.

    Raises:
      ConfigError: no candidate, or no seed.
    """
    check_positive(seeds=seeds)
    if not candidates:
        raise ConfigError("Nothing to evaluate: no rule was given.")
    started = time.monotonic()
    layout = layout or Layout(devices=min(len(jax.devices()), seeds))
    key_train, key_random = split_named(key, "train", "random")
    keys = jax.random.split(key_train, seeds)
    records: dict[str, _Record] = {}
    for group in groups(candidates):
        records |= _train(env, group, keys, layout)
    scores = {name: np.asarray(_scores(records[name])) for name in candidates}
    ends = _interval_ends(candidates)
    settings = [candidate.settings for candidate in candidates.values()]
    alike = all(entry == settings[0] for entry in settings)
    return EnvironmentResult(
        env=env.name,
        steps=ends,
        curves={
            name: _curve(records[name], np.round(ends / candidate.batch_size).astype(int))
            for name, candidate in candidates.items()
        },
        scores=scores,
        random_score=float(random_return(key_random, env)),
        held_out=held_out,
        settings=settings[0] if alike else dict(zip(candidates, settings, strict=True)),
        seconds=time.monotonic() - started,
        diverged={name: int(np.sum(~np.isfinite(score))) for name, score in scores.items()},
    )


def _train(
    env: Environment, group: Mapping[str, Candidate], keys: Key, layout: Layout
) -> dict[str, _Record]:
    """Trains an agent per key `[S]` of every candidate of a group that shares its learner."""
    first = next(iter(group.values()))
    program = training_program(env, first.learner, first.longest, len(group), layout)
    updates = first.updates
    records = jax.device_get(program(keys, stacked_thetas(group), jnp.int32(updates)))
    return {
        name: jax.tree.map(lambda x, i=i: x[i, :, :updates], records)
        for i, name in enumerate(group)
    }


@lru_cache(maxsize=16)
def training_program(
    env: Environment, learner: Learner, longest: int, candidates: int, layout: Layout
) -> Callable[[Key, Theta, Array], _Record]:
    """Compiles `(keys [S], thetas [candidates, ...], updates) -> records [candidates, S, longest]`.

    Records are zero from `updates` on. Thetas and the number of updates are arguments: lifetimes of
    several lengths share a program, and the compilation cache knows that of another run's thetas.
    """

    unroll = Unroll(env, learner, longest, MeanReturnLoss(SCORE_WINDOW))

    def train_agent(key: Key, theta: Theta, updates: Array) -> _Record:
        task = TimedTask(env.sample(named(key, "task")), updates)
        log, _ = unroll.run_steps(key, theta, task, updates)
        return _Record(log.return_sum, log.episodes, log.running_return, log.finite)

    def train(keys: Key, thetas: Theta, updates: Array) -> _Record:
        def one(number: Array) -> _Record:
            theta = jax.tree.map(lambda x: x[number], thetas)
            return layout.sharded_vmap(lambda key: train_agent(key, theta, updates))(keys)

        return jax.lax.map(one, jnp.arange(candidates))

    return on_mesh(train, make_mesh(layout.devices))


def _scores(record: _Record) -> Array:
    return jax.vmap(lambda log: mean_return(log, SCORE_WINDOW))(record)


def _interval_ends(candidates: Mapping[str, Candidate]) -> np.ndarray:
    """Environment steps at the points of all curves."""
    batch = max(candidate.batch_size for candidate in candidates.values())
    shortest = min(candidate.updates * candidate.batch_size for candidate in candidates.values())
    updates = max(1, shortest // batch)
    points = min(_CURVE_POINTS, updates)
    return np.round(np.linspace(0, updates, points + 1)[1:]).astype(int) * batch


def _curve(log: EpisodeLog, ends: np.ndarray) -> np.ndarray:
    """Mean return of the episodes that ended in each interval, `[S, K] -> [S, points]`.

    Args:
      log: leaves `[S, K]`.
      ends: number of updates at the end of each interval, increasing.
    """
    edges = np.concatenate([[0], ends[:-1]])
    kept = slice(None, ends[-1])
    sums = np.add.reduceat(np.asarray(log.return_sum, np.float64)[:, kept], edges, axis=1)
    episodes = np.add.reduceat(np.asarray(log.episodes, np.float64)[:, kept], edges, axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(episodes > 0, sums / episodes, np.nan)


def random_return(key: Key, env: Environment) -> Array:
    """Mean return of an agent that acts uniformly at random (bounded boxes) or N(0, 1).

    Averages the episodes that end within 1024 steps on each of 64 tasks; where none ends, the
    returns so far.
    """
    looped = wrappers.vectorize(wrappers.autoreset(wrappers.episode_statistics(env), False), 1)

    def act(obs: Array, keys: Key) -> tuple[Array, tuple[()]]:
        return jax.vmap(env.action_space.sample)(keys), ()

    def play(key: Key) -> tuple[Array, Array]:
        key_task, key_actions, key_reset, key_env = split_named(
            key, "task", "actions", "reset", "env"
        )
        params = env.sample(key_task)
        keys = jax.random.split(key_actions, (_RANDOM_STEPS, 1))
        obs, state = looped.reset(key_reset, params)
        path = rollout(key_env, looped, params, act, keys, state, obs)[2]
        return path.episode_return[:, 0], path.done[:, 0].astype(jnp.float32)

    @jax.jit
    def average(keys: Key) -> Array:
        returns, done = jax.vmap(play)(keys)
        ended = jnp.sum(done)
        mean = jnp.sum(returns * done) / jnp.maximum(ended, 1.0)
        return jnp.where(ended > 0, mean, jnp.mean(returns[:, -1]))

    return average(jax.random.split(key, _RANDOM_TASKS))
