"""Evaluation of a population of thetas, shared by all evolutionary methods."""

from collections.abc import Callable
from typing import Literal, TypeAlias

import jax
import jax.numpy as jnp

from metarl.core.contracts import Evaluation, Unroll
from metarl.core.keys import named
from metarl.core.mesh import Layout
from metarl.core.types import Array, Key, Log, Theta

Sharing: TypeAlias = Literal["pair", "population", "none"]
"""Members that share random numbers: each antithetic pair, the whole population, or none."""

SHARINGS: tuple[Sharing, ...] = ("pair", "population", "none")

Summary: TypeAlias = Callable[[Log], dict[str, Array]]
"""Maps the logs `[K, ...]` of a lifetime to scalars by name, for reports."""


def shared_group(member: Array, sharing: Sharing) -> Array:
    """Index of the group with which a member shares random numbers; pairs are `(2i, 2i + 1)`."""
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
    """Runs `population * tasks * seeds` lifetimes of each unroll and averages them per member.

    The seeds of a task share the task's key, so they run on the same task. Random numbers depend on
    the key, the group, the task and the seed, never on the layout.

    Args:
      unrolls: U unrolls, such as one for each environment.
      layout: distribution of lifetimes over devices and chunks.
      member_theta: function from a member's index to its theta, called inside its lifetime, so
        that the population is never stored.
      population: P, number of members.
      key: PRNG key of this evaluation.
      common_random_numbers: members that share tasks and random numbers.
      tasks: number of tasks drawn for each member.
      seeds: number of lifetimes on each task.
      summary: function from logs to scalars of a lifetime, averaged like losses; None = no scalars.

    Returns:
      Losses and summaries `[U, P]`.
    """
    per_unroll = []
    for number, unroll in enumerate(unrolls):
        key_unroll = jax.random.fold_in(named(key, "unroll"), number)

        def run(index: Array, unroll: Unroll = unroll, key: Key = key_unroll) -> tuple:
            member, task, seed = jnp.unravel_index(index, (population, tasks, seeds))
            key_group = jax.random.fold_in(key, shared_group(member, common_random_numbers))
            key_task = jax.random.fold_in(named(key_group, "task"), task)
            key_lifetime = jax.random.fold_in(named(key_group, "life"), task)
            loss, logs, _ = unroll.run(
                jax.random.fold_in(key_lifetime, seed),
                member_theta(member),
                unroll.tasks.sample(key_task),
            )
            return loss, None if summary is None else summary(logs)

        lifetimes = layout.sharded_vmap(run)(jnp.arange(population * tasks * seeds))
        per_unroll.append(
            jax.tree.map(lambda x: jnp.mean(x.reshape(population, -1), axis=-1), lifetimes)
        )
    return Evaluation(*jax.tree.map(lambda *rows: jnp.stack(rows), *per_unroll))
