"""Meta-losses of a `Truncation` that depend only on the logs of the truncation window."""

from collections.abc import Callable

from metarl.core.types import Array, Key, LearnerState, Log, Task, Theta

MetaLoss = Callable[
    [Key, Theta, Task, LearnerState, Log], tuple[Array, LearnerState, dict[str, Array]]
]
"""Meta-loss of a truncation window, see `Truncation`."""


def meta_loss_from_logs(
    loss: Callable[[Log], Array], summary: Callable[[Log], dict[str, Array]] | None = None
) -> MetaLoss:
    """Wraps a loss over logs, as `Unroll` takes it, as the meta-loss of a `Truncation`.

    Args:
      loss: function from the logs of a window, leaves `[K, ...]`, to the scalar to minimize; it
        must return NaN for a window that diverged.
      summary: function from the logs to scalars by name, for reports; None = no scalars.
    """

    def meta_loss(
        key: Key, theta: Theta, task: Task, state: LearnerState, logs: Log
    ) -> tuple[Array, LearnerState, dict[str, Array]]:
        del key, theta, task
        return loss(logs), state, {} if summary is None else summary(logs)

    return meta_loss
