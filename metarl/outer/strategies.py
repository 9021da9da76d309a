"""What evosax has: its strategies by name, and which settings each of them has a use for.

evosax is imported on the first question, not before: it is slow to import.
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
"""evosax's strategies that are refused, and why."""

ALWAYS_ANTITHETIC = frozenset(
    {"ARS", "ASEBO", "CR_FM_NES", "ESMC", "GuidedES", "NoiseReuseES", "PGPE", "PersistentES"}
)
"""Strategies whose members come in antithetic pairs, whatever one asks for."""

ANTITHETIC = "use_antithetic_sampling"
"""The argument of strategies that leave the choice."""

_SPREAD_NOT_SETTABLE = frozenset({"iAMaLGaM_Full", "iAMaLGaM_Univariate"})
"""Strategies that only add their standard deviation to a spread of 1."""

_SPREAD_IS_SQUARED = frozenset({"xNES"})
"""Strategies whose first spread is the square of `std_init`: it enters twice."""

_OWN_ARGUMENTS = frozenset({"self", "population_size", "solution", "metrics_fn"})


def strategies() -> dict[str, Any]:
    """Returns evosax's classes by name, without those that cannot be used here."""
    from evosax.algorithms import algorithms

    return {name: kind for name, kind in algorithms.items() if name not in UNUSABLE}


def strategy_class(name: str) -> Any:
    """Returns evosax's class.

    Raises:
      ConfigError: an unknown strategy, or one that cannot be used.
    """
    if name in UNUSABLE:
        raise ConfigError(f"{name} cannot be used: {UNUSABLE[name]}.")
    return strategies()[check_choice("evosax strategy", name, strategies())]


def settings_taken(name: str) -> frozenset[str]:
    """Returns which of `std`, `learning_rate` and `ANTITHETIC` a strategy has a use for.

    Raises:
      ConfigError: an unknown strategy, or one that cannot be used.
    """
    kind = strategy_class(name)
    arguments = argument_names(kind)
    names = arguments | parameter_names(kind)
    spread = not names.isdisjoint({"std_schedule", "std_init"}) and name not in _SPREAD_NOT_SETTABLE
    taken = {
        # A strategy without a mean starts from a population, whose spread is for us to choose.
        "std": spread or not has_mean(kind),
        "learning_rate": "optimizer" in arguments,
        ANTITHETIC: ANTITHETIC in arguments,
    }
    return frozenset(setting for setting, used in taken.items() if used)


def std_init(name: str, std: float) -> float:
    """Returns the parameter `std_init` with which a strategy starts with the spread `std`."""
    return std**0.5 if name in _SPREAD_IS_SQUARED else std


def argument_names(kind: Any) -> frozenset[str]:
    """Names of what the strategy's constructor takes, beyond what every one takes."""
    return frozenset(inspect.signature(kind.__init__).parameters) - _OWN_ARGUMENTS


def parameter_names(kind: Any) -> frozenset[str]:
    """Names of the strategy's parameters: the fields of the class `Params` beside it."""
    return frozenset(sys.modules[kind.__module__].Params.__dataclass_fields__)


def has_mean(kind: Any) -> bool:
    """Whether the strategy, or its class, has a search distribution with a mean."""
    return hasattr(kind, "get_mean")
