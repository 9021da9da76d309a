"""Update of one tensor by a learned per-parameter network: moments, features, network, step."""

from metarl.kernels.lopt_update import arg_specs, features, tiles
from metarl.kernels.lopt_update.api import (
    NAMES,
    implementations,
    lopt_apply,
    lopt_update,
    override_implementation,
    record_implementations,
)
from metarl.kernels.lopt_update.features import FeatureSet
from metarl.kernels.lopt_update.many import (
    ONE_BY_ONE,
    Call,
    Grouping,
    lopt_apply_many,
    lopt_update_many,
)
from metarl.kernels.lopt_update.moments import (
    GRADIENT_LIMIT,
    Moments,
    Rates,
    factored_axes,
    finite,
    init_moments,
    update_moments,
)

__all__ = [
    "GRADIENT_LIMIT",
    "NAMES",
    "ONE_BY_ONE",
    "Call",
    "FeatureSet",
    "Grouping",
    "Moments",
    "Rates",
    "arg_specs",
    "factored_axes",
    "features",
    "finite",
    "implementations",
    "init_moments",
    "lopt_apply",
    "lopt_apply_many",
    "lopt_update",
    "lopt_update_many",
    "override_implementation",
    "record_implementations",
    "tiles",
    "update_moments",
]
