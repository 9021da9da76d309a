"""What moves theta: one interface over gradients and over ask/tell strategies."""

from typing import NamedTuple, Protocol

from metarl.core.types import Array, Key, PyTree, Theta


class MetaLog(NamedTuple):
    """Record of one outer step.

    Attributes:
      losses: meta-loss of every member, `[P]`; diverged ones have the worst finite one.
      diverged: number of members whose meta-loss was not finite.
      gradient_norm: Euclidean norm of the estimated gradient; zero for a strategy without one.
      update_norm: Euclidean norm of how far theta moved.
      unroll_losses: losses of every unroll, `[U, P]`; None = not told.
      summary: see `metarl.core.contracts.Evaluation`.
    """

    losses: Array
    diverged: Array
    gradient_norm: Array
    update_norm: Array
    unroll_losses: Array | None = None
    summary: dict[str, Array] | None = None


class MetaOptimizer(Protocol):
    """The outer loop's state machine; pure, so that many steps run in one scan.

    Where lifetimes are laid over several devices, `init` and `step` are called inside the program
    that `metarl.core.mesh.on_mesh` makes.
    """

    def init(self, key: Key, theta: Theta) -> PyTree:
        """Starts from `theta`."""
        ...

    def step(self, key: Key, state: PyTree) -> tuple[PyTree, MetaLog]:
        """Takes one outer step; keeps the structure, shapes and dtypes of the state."""
        ...

    def theta(self, state: PyTree) -> Theta:
        """Returns the meta-parameters to use now."""
        ...
