"""Several outer steps as one scan."""

import jax

from metarl.core.keys import named
from metarl.core.types import Array, Key, PyTree
from metarl.outer.protocol import MetaLog, MetaOptimizer


def outer_steps(
    meta: MetaOptimizer, key: Key, state: PyTree, numbers: Array
) -> tuple[PyTree, MetaLog]:
    """Takes the outer steps with these numbers; randomness depends on key and number only.

    Args:
      meta: meta-optimizer.
      key: root key of the run.
      state: state of `meta`.
      numbers: numbers of the outer steps, `[n]`, from 0.

    Returns:
      The state, and logs with leaves `[n, ...]`.
    """

    def step(state: PyTree, number: Array) -> tuple[PyTree, MetaLog]:
        return meta.step(jax.random.fold_in(named(key, "generation"), number), state)

    return jax.lax.scan(step, state, numbers)
