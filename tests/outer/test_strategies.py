"""The registry of evosax strategies against their behaviour."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from metarl.core.errors import ConfigError
from metarl.outer.evosax import EvosaxMetaOptimizer
from metarl.outer.strategies import (
    ALWAYS_ANTITHETIC,
    ANTITHETIC,
    argument_names,
    parameter_names,
    settings_taken,
    strategies,
    strategy_class,
)

STD, MEMBERS, DIMENSIONS = 0.01, 32, 40
QUICK = ("Open_ES", "PGPE", "SNES", "xNES", "iAMaLGaM_Univariate", "SimpleGA", "PSO")
OTHERS = [
    "ARS",
    "ASEBO",
    "CMA_ES",
    "CR_FM_NES",
    "DES",
    "DifferentialEvolution",
    "DiffusionEvolution",
    "ESMC",
    "GESMR_GA",
    "GradientlessDescent",
    "GuidedES",
    "HillClimbing",
    "iAMaLGaM_Full",
    "LM_MA_ES",
    "MA_ES",
    "MR15_GA",
    "NoiseReuseES",
    "PersistentES",
    "Rm_ES",
    "SAMR_GA",
    "Sep_CMA_ES",
    "SimpleES",
    "SimulatedAnnealing",
]


def first_population(name):
    """The first members that the strategy samples, from zero, as `[P, dimensions]`."""
    evaluated = []

    def spy(key, thetas):
        evaluated.append(np.asarray(thetas, np.float64))
        return jnp.sum(thetas**2, axis=1)

    std = STD if "std" in settings_taken(name) else None
    optimizer = EvosaxMetaOptimizer(name, MEMBERS, spy, std=std)
    state = optimizer.init(jax.random.key(0), jnp.zeros(DIMENSIONS))
    if not evaluated:
        optimizer.step(jax.random.key(1), state)
    return evaluated[0]


@pytest.mark.parametrize(
    "name", [*QUICK, *(pytest.param(name, marks=pytest.mark.slow) for name in OTHERS)]
)
def test_standard_deviations_and_antithetic_pairs_are_as_registered(name):
    members = first_population(name)
    rows = members[np.any(members != 0, axis=1)]  # some evaluate the mean itself too
    # These share one variance out among the dimensions, as their papers do.
    std = STD / np.sqrt(DIMENSIONS) if name in ("ASEBO", "GuidedES") else STD
    # Standard errors of the deviation of so many normal numbers, half of them independent; eight,
    # since subspaces leave fewer.
    off = abs(np.sqrt(np.mean(rows**2)) - std)
    assert (off < 8 * std / np.sqrt(rows.size)) == ("std" in settings_taken(name))
    distance = np.abs(rows[:, None] + rows[None]).max(axis=-1)
    # Rounding of mean + noise and its difference again; another member is about STD away.
    mirrored = distance.min(axis=1) < 1e-3 * STD
    assert np.all(mirrored) == np.any(mirrored)
    assert np.all(mirrored) == (name in ALWAYS_ANTITHETIC or ANTITHETIC in settings_taken(name))


def test_every_strategy_is_covered():
    # RandomSearch ignores the user's settings.
    assert {*QUICK, *OTHERS, "RandomSearch"} == set(strategies())


def test_antithetic_pairs_can_be_switched_off_where_registered():
    assert [name for name in strategies() if ANTITHETIC in settings_taken(name)] == ["Open_ES"]
    assert ANTITHETIC in argument_names(strategy_class("Open_ES"))


@pytest.mark.parametrize("name", ["Open_ES", "CMA_ES", "SNES", "GradientlessDescent", "PSO"])
def test_names_of_parameters_are_those_of_the_parameters(name):
    strategy = strategy_class(name)(population_size=8, solution=jnp.zeros(3))
    fields = set(strategy.default_params.__dataclass_fields__)
    assert parameter_names(strategy_class(name)) == fields


def test_a_learning_rate_is_taken_where_there_is_an_optimizer():
    taken = {name for name in strategies() if "learning_rate" in settings_taken(name)}
    assert {"Open_ES", "PGPE", "SNES", "xNES", "ARS", "SimpleES"} <= taken
    assert taken.isdisjoint({"CMA_ES", "SimpleGA", "PSO", "LM_MA_ES", "iAMaLGaM_Full"})
    for name in taken:
        EvosaxMetaOptimizer(name, 8, lambda key, thetas: thetas, learning_rate=0.1)


def test_an_unknown_strategy_is_refused():
    with pytest.raises(ConfigError, match="mean 'CMA_ES'"):
        settings_taken("CMAES")
    with pytest.raises(ConfigError, match="no one theta"):
        settings_taken("SV_CMA_ES")
