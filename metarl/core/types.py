"""Type aliases of signatures.

Axis names, used in every docstring: `T` time, `B` batch or environment, `N` task, `S` seed,
`P` population, `K` inner steps. Trajectories are `[T, B, ...]`, bootstrapped ones `[T+1, B, ...]`.
"""

from typing import Any, TypeAlias

import jax

Array: TypeAlias = jax.Array
Key: TypeAlias = jax.Array
"""A typed PRNG key (`jax.random.key`), or an array of them."""

PyTree: TypeAlias = Any
Theta: TypeAlias = Any
"""Meta-parameters: the pytree that the outer loop optimizes."""
Task: TypeAlias = Any
"""Task of one inner training run: an array pytree, so that it can be vmapped."""
LearnerState: TypeAlias = Any
Log: TypeAlias = Any
"""Per-step record of a learner: a pytree of arrays with the same structure at every step."""
