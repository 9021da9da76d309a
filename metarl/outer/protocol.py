"""Interface of meta-optimizers: gradient-based ones and ask/tell strategies."""

from typing import NamedTuple, Protocol

from metarl.core.types import Array, Key, PyTree, Theta


class MetaLog(NamedTuple):
    """Log of one outer step.

    Attributes:
      losses: meta-loss of every member, `[P]`; for diverged members, the largest finite one.
      diverged: number of members whose meta-loss was not finite.
      gradient_norm: Euclidean norm of the estimated gradient; zero for a strategy without one.
      update_norm: Euclidean norm of the change of theta.
      unroll_losses: meta-loss of every unroll and member, `[U, P]`; None = not available.
      summary: further scalars by name, see `metarl.core.contracts.Evaluation`.
    """

    losses: Array
    diverged: Array
    gradient_norm: Array
    update_norm: Array
    unroll_losses: Array | None = None
    summary: dict[str, Array] | None = None


class MetaOptimizer(Protocol):
    """The outer loop as a pure state machine, so that many steps can run in one scan.

    If lifetimes are sharded over several devices, `init` and `step` are called inside a program
    that `metarl.core.mesh.on_mesh` compiles.
    """

    def init(self, key: Key, theta: Theta) -> PyTree:
        """Returns the initial state at `theta`."""
        ...

    def step(self, key: Key, state: PyTree) -> tuple[PyTree, MetaLog]:
        """Takes one outer step; keeps the structure, shapes and dtypes of the state."""
        ...

    def theta(self, state: PyTree) -> Theta:
        """Returns the current meta-parameters."""
        ...
