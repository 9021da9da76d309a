"""Training curves of many networks at once: members x tasks x seeds in one compiled program."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from metarl.core.errors import ConfigError, check_positive
from metarl.core.keys import named, split_named
from metarl.core.mesh import Layout, make_mesh, on_mesh
from metarl.core.types import Array, Key, PyTree, Task, Theta
from metarl.inner.training import Training, TrainingState
from metarl.optimizers.protocol import InnerOptimizer
from metarl.tasks.family import TaskFamily
from metarl.tasks.lifetimes import TimedTask

LOOK_BATCHES = 4
"""Batches over which a training loss is averaged, the same at every evaluation."""


class TrainingCurves(NamedTuple):
    """Losses of networks in training, each `[M, N, S, K]`; NaN from where one diverged.

    M optimizers that differ in theta only, N tasks, S seeds of each, K evaluations.

    Attributes:
      steps: updates before each evaluation, `[K]`, the first 0.
      training: loss on training batches.
      training_scaled: the same as the family normalises it.
      held_out: loss on data that training never sees.
      held_out_scaled: the same as the family normalises it.
    """

    steps: np.ndarray
    training: np.ndarray
    training_scaled: np.ndarray
    held_out: np.ndarray
    held_out_scaled: np.ndarray


class _Losses(NamedTuple):
    training: Array
    training_scaled: Array
    held_out: Array
    held_out_scaled: Array


def evaluation_steps(steps: int, points: int) -> np.ndarray:
    """Updates before each evaluation: 0, and `points` evenly spaced ones, `[K]`.

    Fewer where there are fewer updates than points.
    """
    check_positive(steps=steps, points=points)
    return np.round(np.linspace(0, steps, min(points, steps) + 1)).astype(int)


def training_program(
    family: TaskFamily,
    optimizer: InnerOptimizer,
    members: int,
    eval_steps: np.ndarray,
    tasks: int,
    seeds: int,
    layout: Layout,
) -> Callable[[Key, Theta], TrainingCurves]:
    """Makes `(key, thetas) -> curves`, which trains `members x tasks x seeds` networks.

    Candidates with the same key get the same tasks, initial networks and batches. It is compiled in
    its first call.

    Args:
      family: where tasks come from.
      optimizer: what turns gradients into updates.
      members: M; leaves of `thetas` are `[M, ...]`.
      eval_steps: updates before each evaluation, increasing from 0; see `evaluation_steps`.
      tasks: N.
      seeds: S, networks on each task.
      layout: how networks are laid over devices.

    Raises:
      ConfigError: no member, task or seed, or eval_steps that do not increase from 0.
    """
    check_positive(members=members, tasks=tasks, seeds=seeds)
    ends = np.asarray(eval_steps)
    if ends.ndim != 1 or ends.size < 2 or ends[0] != 0 or np.any(np.diff(ends) < 1):
        raise ConfigError(f"Looks must rise from 0 by at least one update, got {ends}.")
    shape = (members, tasks, seeds)
    compiled = _compiled(family, optimizer, ends, shape, layout)

    def program(key: Key, thetas: Theta) -> TrainingCurves:
        found = jax.device_get(compiled(key, thetas))
        # A loss that overflowed is as lost as one that is not a number.
        known = (np.where(np.isfinite(x), x, np.nan).astype(np.float64) for x in found)
        return TrainingCurves(ends, *(x.reshape(*shape, ends.size) for x in known))

    return program


def _compiled(
    family: TaskFamily,
    optimizer: InnerOptimizer,
    eval_steps: np.ndarray,
    shape: tuple[int, int, int],
    layout: Layout,
) -> Callable[[Key, Theta], _Losses]:
    """Compiles `(key, thetas [M, ...]) -> losses [M * N * S, K]`.

    Thetas are arguments, so that the compilation cache knows the program of another run's thetas.
    """
    learner = Training(family, optimizer)
    members, tasks, seeds = shape
    numbers = np.stack(np.unravel_index(np.arange(members * tasks * seeds), shape))

    def live(key: Key, theta: Theta, seed: Array) -> _Losses:
        key_task, key_life, key_eval = split_named(key, "task", "life", "look")
        task = TimedTask(family.sample(key_task), jnp.int32(eval_steps[-1]))
        key_init, key_steps = split_named(jax.random.fold_in(key_life, seed), "init", "steps")

        def step(number: Array, state: TrainingState) -> TrainingState:
            return learner.step(jax.random.fold_in(key_steps, number), theta, task, state)[0]

        def stretch(state: TrainingState, ends: Array) -> tuple[TrainingState, _Losses]:
            state = jax.lax.fori_loop(ends[0], ends[1], step, state)
            return state, _evaluate(family, key_eval, state.params, task.task)

        start = learner.init(key_init, theta, task)
        bounds = jnp.stack([eval_steps[:-1], eval_steps[1:]], axis=1)
        first = _evaluate(family, key_eval, start.params, task.task)
        rest = jax.lax.scan(stretch, start, bounds)[1]
        return jax.tree.map(lambda x, y: jnp.concatenate([x[None], y]), first, rest)

    def train(key: Key, thetas: Theta) -> _Losses:
        keys = jax.random.split(named(key, "tasks"), tasks)

        def one(member: Array, task: Array, seed: Array) -> _Losses:
            return live(keys[task], jax.tree.map(lambda x: x[member], thetas), seed)

        return layout.sharded_vmap(one)(*map(jnp.asarray, numbers))

    return on_mesh(train, make_mesh(layout.devices))


def _evaluate(family: TaskFamily, key: Key, params: PyTree, task: Task) -> _Losses:
    key_training, key_held_out = split_named(key, "training", "held_out")
    keys = jax.random.split(key_training, LOOK_BATCHES)
    training = jnp.mean(jax.vmap(lambda k: family.loss(params, k, task))(keys))
    held_out = family.evaluate(params, key_held_out, task)["loss"]
    training, held_out = training.astype(jnp.float32), held_out.astype(jnp.float32)
    return _Losses(
        training, family.normalize(training, task), held_out, family.normalize(held_out, task)
    )
