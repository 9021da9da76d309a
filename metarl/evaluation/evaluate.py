"""Training agents with several rules on one environment, side by side.

All rules share one compiled program and the same random numbers (initial networks, environments,
minibatch orders), so that their difference is the rule's.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass

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
from metarl.evaluation.results import EnvironmentResult
from metarl.inner.ppo import PPO
from metarl.inner.ppo_config import PPOConfig
from metarl.inner.rollout import rollout
from metarl.inner.scores import MeanReturnLoss, PPOLog, mean_return
from metarl.rules.bank import BankTheta, bank
from metarl.rules.protocol import Rule
from metarl.tasks.environments import FixedTask

SCORE_WINDOW = 0.1
"""A score is the mean return of the episodes that ended in this last fraction of training."""

_CURVE_POINTS = 50
_RANDOM_ENVS, _RANDOM_STEPS = 64, 1024


@dataclass(frozen=True)
class Contender:
    """A rule with its meta-parameters.

    Attributes:
      rule: the drift.
      theta: its meta-parameters; `()` for one that is written down.
    """

    rule: Rule
    theta: Theta = ()


def evaluate(
    env: Environment,
    contenders: Mapping[str, Contender],
    config: PPOConfig,
    seeds: int,
    key: Key,
    held_out: bool = False,
    layout: Layout | None = None,
) -> EnvironmentResult:
    """Trains `seeds` agents with every contender on `env`.

    Args:
      env: unbatched environment, without autoreset.
      contenders: name -> rule; all get the same settings and random numbers.
      config: settings of the learner.
      seeds: S, agents a rule.
      key: randomness of everything.
      held_out: whether the learned contenders have never seen this environment.
      layout: how seeds are laid over devices; default: every device of this machine.

    Returns:
      Learning curves and final scores.

    Raises:
      ConfigError: no contender, or no seed.
    """
    check_positive(seeds=seeds)
    if not contenders:
        raise ConfigError("Nothing to evaluate: no rule was given.")
    started = time.monotonic()
    layout = layout or Layout(devices=min(len(jax.devices()), seeds))
    key_train, key_random = split_named(key, "train", "random")
    program = _training_program(env, contenders, config, layout)
    thetas = tuple(contender.theta for contender in contenders.values())
    logs = jax.device_get(program(jax.random.split(key_train, seeds), thetas))
    random_score = float(random_return(key_random, env))
    names = list(contenders)
    curves = {name: _curve(jax.tree.map(lambda x, i=i: x[i], logs)) for i, name in enumerate(names)}
    scores = np.asarray(jax.vmap(jax.vmap(lambda log: mean_return(log, SCORE_WINDOW)))(logs))
    return EnvironmentResult(
        env=env.name,
        steps=_interval_ends(config.updates) * config.batch_size,
        curves=curves,
        scores={name: scores[i] for i, name in enumerate(names)},
        random_score=random_score,
        held_out=held_out,
        settings=asdict(config),
        seconds=time.monotonic() - started,
        diverged={name: int(np.sum(~np.isfinite(scores[i]))) for i, name in enumerate(names)},
    )


def _training_program(
    env: Environment, contenders: Mapping[str, Contender], config: PPOConfig, layout: Layout
) -> Callable[[Key, tuple[Theta, ...]], PPOLog]:
    """Compiles `(keys [S], thetas) -> logs [rules, S, K]`.

    Thetas are arguments, so that the compilation cache knows the program of another run's thetas.
    """
    learner = PPO(env, config, bank([c.rule for c in contenders.values()]))
    task = env.default_params
    unroll = Unroll(FixedTask(task), learner, config.updates, MeanReturnLoss(SCORE_WINDOW))

    def train(keys: Key, thetas: tuple[Theta, ...]) -> PPOLog:
        def one(index: Array) -> PPOLog:
            theta = BankTheta(index, thetas)
            return layout.spread(lambda key: unroll.run(key, theta, task)[1])(keys)

        return jax.lax.map(one, jnp.arange(len(thetas)))

    return on_mesh(train, make_mesh(layout.devices))


def _interval_ends(updates: int) -> np.ndarray:
    points = min(_CURVE_POINTS, updates)
    return np.round(np.linspace(0, updates, points + 1)[1:]).astype(int)


def _curve(log: PPOLog) -> np.ndarray:
    """Mean return of the episodes that ended in each interval, `[S, K] -> [S, points]`."""
    edges = np.concatenate([[0], _interval_ends(log.episodes.shape[1])])
    sums = np.add.reduceat(np.asarray(log.return_sum, np.float64), edges[:-1], axis=1)
    episodes = np.add.reduceat(np.asarray(log.episodes, np.float64), edges[:-1], axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(episodes > 0, sums / episodes, np.nan)


def random_return(key: Key, env: Environment) -> Array:
    """Mean return of an agent that acts uniformly at random (bounded boxes) or N(0, 1).

    Averages the episodes that end within 64 x 1024 steps; where none ends, the returns so far.
    """
    batched = wrappers.vectorize(wrappers.autoreset(wrappers.episode_statistics(env)), _RANDOM_ENVS)
    params = env.default_params

    def act(obs: Array, keys: Key) -> tuple[Array, tuple[()]]:
        return jax.vmap(env.action_space.sample)(keys), ()

    @jax.jit
    def play(key: Key) -> Array:
        keys = jax.random.split(named(key, "actions"), (_RANDOM_STEPS, _RANDOM_ENVS))
        obs, state = batched.reset(named(key, "reset"), params)
        _, _, path = rollout(named(key, "env"), batched, params, act, keys, state, obs)
        done = path.done.astype(jnp.float32)
        ended = jnp.sum(done)
        mean = jnp.sum(path.episode_return * done) / jnp.maximum(ended, 1.0)
        return jnp.where(ended > 0, mean, jnp.mean(path.episode_return[-1]))

    return play(key)
