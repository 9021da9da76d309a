"""Scoring a population of thetas by lifetimes; what every evolutionary method has in common."""

from collections.abc import Callable
from typing import Literal, TypeAlias

import jax
import jax.numpy as jnp

from metarl.core.contracts import Evaluation, Unroll
from metarl.core.keys import named
from metarl.core.mesh import Layout
from metarl.core.types import Array, Key, Log, Theta

Sharing: TypeAlias = Literal["pair", "population", "none"]
"""Which members live on the same random numbers: each antithetic pair, all, or no two."""

SHARINGS: tuple[Sharing, ...] = ("pair", "population", "none")

Summary: TypeAlias = Callable[[Log], dict[str, Array]]
"""Makes the scalars of one lifetime that people want to see from its logs `[K, ...]`."""


def shared_group(member: Array, sharing: Sharing) -> Array:
    """Number of the group whose random numbers a member lives on; pairs are `(2i, 2i + 1)`."""
    if sharing == "population":
        return jnp.zeros_like(member)
    return member // 2 if sharing == "pair" else member


def evaluate(
    unrolls: tuple[Unroll, ...],
    layout: Layout,
    member_theta: Callable[[Array], Theta],
    population: int,
    key: Key,
    *,
    common_random_numbers: Sharing = "population",
    tasks: int = 1,
    seeds: int = 1,
    summary: Summary | None = None,
) -> Evaluation:
    """Lives `population * tasks * seeds` lifetimes of each unroll and averages them per member.

    The seeds of a task share its key, so they live on the same task. What is random depends on the
    key, the group, the task and the seed, never on the layout.

    Args:
      unrolls: U lifetimes, such as one for each environment.
      layout: how lifetimes are laid over devices and chunks.
      member_theta: makes the theta of a member from its number, inside its lifetime, so that a
        population need not be stored.
      population: P, number of members.
      key: of this evaluation.
      common_random_numbers: which members share tasks and lifetimes' randomness.
      tasks: tasks drawn for each member.
      seeds: lifetimes on each task.
      summary: scalars to keep of each lifetime; averaged like losses.

    Returns:
      Losses and summaries `[U, P]`.
    """
    per_unroll = []
    for number, unroll in enumerate(unrolls):
        key_unroll = jax.random.fold_in(named(key, "unroll"), number)

        def live(index: Array, unroll: Unroll = unroll, key: Key = key_unroll) -> tuple:
            member, task, seed = jnp.unravel_index(index, (population, tasks, seeds))
            key_group = jax.random.fold_in(key, shared_group(member, common_random_numbers))
            key_task = jax.random.fold_in(named(key_group, "task"), task)
            key_life = jax.random.fold_in(named(key_group, "life"), task)
            loss, logs, _ = unroll.run(
                jax.random.fold_in(key_life, seed),
                member_theta(member),
                unroll.tasks.sample(key_task),
            )
            return loss, None if summary is None else summary(logs)

        lives = layout.sharded_vmap(live)(jnp.arange(population * tasks * seeds))
        per_unroll.append(
            jax.tree.map(lambda x: jnp.mean(x.reshape(population, -1), axis=-1), lives)
        )
    return Evaluation(*jax.tree.map(lambda *rows: jnp.stack(rows), *per_unroll))
