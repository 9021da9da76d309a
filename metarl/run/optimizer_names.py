"""Optimizers by the names that `metarl score` takes, apart from the baselines that are tuned."""

import jax

from metarl import optimizers
from metarl.core.errors import ConfigError, nearest
from metarl.evaluation.baselines import BASELINES
from metarl.evaluation.optimizer_trial import OptimizerContender
from metarl.io.artifacts import CARD_SUFFIX, WEIGHTS_SUFFIX
from metarl.optimizers import open_weights
from metarl.optimizers.released import RELEASED

_OPEN = "open"

RELEASED_NAMES = (*RELEASED, _OPEN)
"""What may stand before the colon in `NAME:PATH`."""


def by_name(name: str) -> OptimizerContender:
    """Finds a learned optimizer.

    Args:
      name: of a shipped one; the path of a `.safetensors` file of ours; or `celo:PATH` and such,
        weights that others released.

    Raises:
      ConfigError: nothing is called so.
      ArtifactError: the file is missing, altered, or of another kind.
    """
    prefix, colon, path = name.partition(":")
    if colon and prefix == _OPEN:
        optimizer = open_weights.by_path(path)
    else:
        known = [*BASELINES, *optimizers.names()]
        is_path = colon or name.endswith((WEIGHTS_SUFFIX, CARD_SUFFIX))
        if not is_path and name not in optimizers.names():
            released = ", ".join(f"{entry}:PATH" for entry in RELEASED_NAMES)
            raise ConfigError(
                f"Unknown optimizer {name!r}.{nearest(name, known)} Permitted: "
                f"{', '.join(known)}, {released}, or the path of a {WEIGHTS_SUFFIX} file."
            )
        optimizer = optimizers.inner(name)
    return OptimizerContender(optimizer, optimizer.init(jax.random.key(0)))
