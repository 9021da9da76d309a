"""Optimizers by the names that commands take, apart from the baselines that are tuned."""

from dataclasses import fields

import jax

from metarl import optimizers
from metarl.core.errors import ConfigError, check_choice, nearest
from metarl.core.options import check_options, check_types
from metarl.envs.names import base_name, options_in
from metarl.io.artifacts import CARD_SUFFIX, WEIGHTS_SUFFIX
from metarl.optimizers import ARCHITECTURES
from metarl.optimizers.external.registry import EXTERNAL
from metarl.optimizers.open import open_weights
from metarl.problems.optimizer.baselines import BASELINES
from metarl.problems.optimizer.trial import OptimizerCandidate

_OPEN = "open"

EXTERNAL_NAMES = (*EXTERNAL, _OPEN)
"""What may stand before the colon in `NAME:PATH`."""


def by_name(name: str, untrained: bool = False) -> OptimizerCandidate:
    """Finds a learned optimizer.

    Args:
      name: name of a pretrained one; path of a `.safetensors` file of this library; or `celo:PATH`
        and such, weights that others released.
      untrained: whether it may be of an architecture too, such as `adafac_mlp_lopt?hidden=32`,
        which then has random weights: for what does not depend on them, such as time.

    Raises:
      ConfigError: nothing is called so, or an option is unknown or out of range.
      ArtifactError: the file is missing, altered, or of another kind.
    """
    prefix, colon, path = name.partition(":")
    is_path = colon or name.endswith((WEIGHTS_SUFFIX, CARD_SUFFIX))
    if untrained and not is_path and ("?" in name or name in ARCHITECTURES):
        return _untrained(name)
    if colon and prefix == _OPEN:
        optimizer = open_weights.by_path(path)
    else:
        known = [*BASELINES, *optimizers.names(), *(ARCHITECTURES if untrained else ())]
        if not is_path and name not in optimizers.names():
            released = ", ".join(f"{entry}:PATH" for entry in EXTERNAL_NAMES)
            raise ConfigError(
                f"Unknown optimizer {name!r}.{nearest(name, known)} Permitted: "
                f"{', '.join(known)}, {released}, or the path of a {WEIGHTS_SUFFIX} file."
            )
        optimizer = optimizers.inner(name)
    return OptimizerCandidate(optimizer, optimizer.init(jax.random.key(0)))


def _untrained(name: str) -> OptimizerCandidate:
    """Draws the weights of an architecture, whose config the options are fields of."""
    base, options = base_name(name), options_in(name)
    architecture = ARCHITECTURES[check_choice("architecture", base, ARCHITECTURES)]
    check_options(base, options, [field.name for field in fields(architecture.config)])
    check_types(base, options, architecture.config)
    config = architecture.config(**options)
    theta = architecture.init(config, jax.random.key(0))
    return OptimizerCandidate(architecture.inner(config), theta)
