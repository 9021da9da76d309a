"""Registry of evosax strategies, and the settings that each of them takes.

evosax is imported on first use, because importing it is slow.
"""

import inspect
import sys
from collections.abc import Mapping
from typing import Any

from metarl.core.errors import ConfigError, check_choice

_PICKLED = "its weights are a pickle, which this library never reads"
_SEVERAL = "it searches from several means at once, so there is no one theta"
UNUSABLE: Mapping[str, str] = {
    "CMAAnchoredLES": _PICKLED,
    "EvoTF_ES": _PICKLED,
    "LES": _PICKLED,
    "LGA": _PICKLED,
    "SV_CMA_ES": _SEVERAL,
    "SV_Open_ES": _SEVERAL,
}
"""Strategies of evosax that are not supported, and why."""

ALWAYS_ANTITHETIC = frozenset(
    {"ARS", "ASEBO", "CR_FM_NES", "ESMC", "GuidedES", "NoiseReuseES", "PGPE", "PersistentES"}
)
"""Strategies whose members always form antithetic pairs."""

ANTITHETIC = "use_antithetic_sampling"
"""Constructor argument of strategies with optional antithetic sampling."""

_SPREAD_NOT_SETTABLE = frozenset({"iAMaLGaM_Full", "iAMaLGaM_Univariate"})
"""Strategies that only add their setting to an initial standard deviation of 1."""

_SPREAD_IS_SQUARED = frozenset({"xNES"})
"""Strategies whose initial standard deviation is the square of `std_init`."""

_OWN_ARGUMENTS = frozenset({"self", "population_size", "solution", "metrics_fn"})


def strategies() -> dict[str, Any]:
    """Returns the supported strategy classes of evosax by name."""
    from evosax.algorithms import algorithms

    return {name: kind for name, kind in algorithms.items() if name not in UNUSABLE}


def strategy_class(name: str) -> Any:
    """Returns the strategy class of a name.

    Raises:
      ConfigError: the strategy is unknown or not supported.
    """
    if name in UNUSABLE:
        raise ConfigError(f"{name} cannot be used: {UNUSABLE[name]}.")
    return strategies()[check_choice("evosax strategy", name, strategies())]


def settings_taken(name: str) -> frozenset[str]:
    """Returns those of `std`, `learning_rate` and `ANTITHETIC` that a strategy takes.

    Raises:
      ConfigError: the strategy is unknown or not supported.
    """
    kind = strategy_class(name)
    arguments = argument_names(kind)
    names = arguments | parameter_names(kind)
    has_std = (
        not names.isdisjoint({"std_schedule", "std_init"}) and name not in _SPREAD_NOT_SETTABLE
    )
    taken = {
        # A strategy without a mean starts from a population that `EvosaxMetaOptimizer` samples.
        "std": has_std or not has_mean(kind),
        "learning_rate": "optimizer" in arguments,
        ANTITHETIC: ANTITHETIC in arguments,
    }
    return frozenset(setting for setting, used in taken.items() if used)


def std_init(name: str, std: float) -> float:
    """Returns the parameter `std_init` that gives the initial standard deviation `std`."""
    return std**0.5 if name in _SPREAD_IS_SQUARED else std


def argument_names(kind: Any) -> frozenset[str]:
    """Names of the constructor arguments that are specific to the strategy."""
    return frozenset(inspect.signature(kind.__init__).parameters) - _OWN_ARGUMENTS


def parameter_names(kind: Any) -> frozenset[str]:
    """Names of the strategy's parameters: the fields of `Params` in its module."""
    return frozenset(sys.modules[kind.__module__].Params.__dataclass_fields__)


def has_mean(kind: Any) -> bool:
    """Whether the strategy (instance or class) is distribution-based, with a mean."""
    return hasattr(kind, "get_mean")
