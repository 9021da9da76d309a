"""Training agents of several kinds on one environment, side by side.

All get the same random numbers (initial networks, environments, minibatch orders), so that their
difference is that of the rules.
"""

import time
from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from metarl.core.contracts import Unroll
from metarl.core.errors import ConfigError, check_positive
from metarl.core.keys import named, split_named
from metarl.core.mesh import Layout, make_mesh, on_mesh
from metarl.core.types import Array, Key, Theta
from metarl.envs import wrappers
from metarl.envs.protocol import Environment
from metarl.evaluation.contenders import Contender, groups, stacked_thetas
from metarl.evaluation.results import EnvironmentResult
from metarl.inner.rollout import rollout
from metarl.inner.scores import EpisodeLog, MeanReturnLoss, mean_return

SCORE_WINDOW = 0.1
"""A score is the mean return of the episodes that ended in this last fraction of training."""

_CURVE_POINTS = 50
_RANDOM_TASKS, _RANDOM_STEPS = 64, 1024


class _Record(NamedTuple):
    """What is kept of every update of every agent, `[contenders, S, K]`."""

    return_sum: Array
    episodes: Array
    running_return: Array
    finite: Array


def evaluate(
    env: Environment,
    contenders: Mapping[str, Contender],
    seeds: int,
    key: Key,
    held_out: bool = False,
    layout: Layout | None = None,
) -> EnvironmentResult:
    """Trains `seeds` agents of every contender on `env`.

    Args:
      env: unbatched environment, without autoreset.
      contenders: name -> agent; all get the same random numbers.
      seeds: S, agents a contender.
      key: randomness of everything.
      held_out: whether the learned contenders have never seen this environment.
      layout: how seeds are laid over devices; default: every device of this machine.

    Returns:
      Learning curves, as far as the shortest life goes, with the points of the contender that takes
      most steps between updates; and the final scores, each of its own life.

    Raises:
      ConfigError: no contender, or no seed.
    """
    check_positive(seeds=seeds)
    if not contenders:
        raise ConfigError("Nothing to evaluate: no rule was given.")
    started = time.monotonic()
    layout = layout or Layout(devices=min(len(jax.devices()), seeds))
    key_train, key_random = split_named(key, "train", "random")
    keys = jax.random.split(key_train, seeds)
    records: dict[str, _Record] = {}
    for group in groups(contenders):
        records |= _train(env, group, keys, layout)
    scores = {name: np.asarray(_scores(records[name])) for name in contenders}
    ends = _interval_ends(contenders)
    settings = [contender.settings for contender in contenders.values()]
    alike = all(entry == settings[0] for entry in settings)
    return EnvironmentResult(
        env=env.name,
        steps=ends,
        curves={
            name: _curve(records[name], np.round(ends / contender.batch_size).astype(int))
            for name, contender in contenders.items()
        },
        scores=scores,
        random_score=float(random_return(key_random, env)),
        held_out=held_out,
        settings=settings[0] if alike else dict(zip(contenders, settings, strict=True)),
        seconds=time.monotonic() - started,
        diverged={name: int(np.sum(~np.isfinite(score))) for name, score in scores.items()},
    )


def _train(
    env: Environment, group: Mapping[str, Contender], keys: Key, layout: Layout
) -> dict[str, _Record]:
    """Lives `keys [S]` lives of every contender of a group that shares its learner."""
    program = training_program(env, next(iter(group.values())), len(group), layout)
    records = jax.device_get(program(keys, stacked_thetas(group)))
    return {name: jax.tree.map(lambda x, i=i: x[i], records) for i, name in enumerate(group)}


def training_program(
    env: Environment, contender: Contender, contenders: int, layout: Layout
) -> Callable[[Key, Theta], _Record]:
    """Compiles `(keys [S], thetas [contenders, ...]) -> records [contenders, S, K]`.

    Thetas are arguments, so that the compilation cache knows the program of another run's thetas.
    """
    loss = MeanReturnLoss(SCORE_WINDOW)
    unroll = Unroll(env, contender.learner, contender.updates, loss)

    def live(key: Key, theta: Theta) -> _Record:
        task = contender.task(env.sample(named(key, "task")))
        log = unroll.run(key, theta, task)[1]
        return _Record(log.return_sum, log.episodes, log.running_return, log.finite)

    def train(keys: Key, thetas: Theta) -> _Record:
        def one(number: Array) -> _Record:
            theta = jax.tree.map(lambda x: x[number], thetas)
            return layout.spread(lambda key: live(key, theta))(keys)

        return jax.lax.map(one, jnp.arange(contenders))

    return on_mesh(train, make_mesh(layout.devices))


def _scores(record: _Record) -> Array:
    return jax.vmap(lambda log: mean_return(log, SCORE_WINDOW))(record)


def _interval_ends(contenders: Mapping[str, Contender]) -> np.ndarray:
    """Environment steps at the points of all curves."""
    batch = max(contender.batch_size for contender in contenders.values())
    shortest = min(contender.updates * contender.batch_size for contender in contenders.values())
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
