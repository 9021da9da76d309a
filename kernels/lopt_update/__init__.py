"""The update of a tensor by a learned per-parameter network: moments, features, network, step."""

from metarl.kernels.lopt_update import arg_specs, features, tiles
from metarl.kernels.lopt_update.api import implementations, lopt_update
from metarl.kernels.lopt_update.features import FeatureSet
from metarl.kernels.lopt_update.moments import (
    Moments,
    Rates,
    factored_axes,
    init_moments,
    update_moments,
)

__all__ = [
    "FeatureSet",
    "Moments",
    "Rates",
    "arg_specs",
    "factored_axes",
    "features",
    "implementations",
    "init_moments",
    "lopt_update",
    "tiles",
    "update_moments",
]
