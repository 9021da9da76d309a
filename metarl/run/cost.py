"""`metarl cost`: what an outer step needs, found by compiling it and not running it."""

import argparse
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental.compilation_cache import compilation_cache

from metarl.core.errors import check_positive
from metarl.core.types import PyTree
from metarl.evaluation.measures import MEMORY
from metarl.evaluation.results import EnvironmentResult, save_results
from metarl.io.files import check_folder
from metarl.problems.config import RunConfig
from metarl.run import experiments
from metarl.run.build import MetaTraining, build


@dataclass(frozen=True)
class Cost:
    """What one compiled outer step needs.

    Attributes:
      theta: numbers that are meta-learned.
      state_bytes: size of the state between outer steps, as in a checkpoint.
      temporary_bytes: of a device beside it, while a step runs.
      compile_seconds: to trace and compile it, nothing cached.
    """

    theta: int
    state_bytes: int
    temporary_bytes: int
    compile_seconds: float


def cost(training: MetaTraining) -> Cost:
    """Compiles one outer step; the persistent cache is left alone."""
    state = jax.eval_shape(training.init, training.key)
    with _no_cache():
        started = time.perf_counter()
        step = training.advance.lower(training.key, state, jnp.arange(1))  # type: ignore[attr-defined]
        memory = step.compile().memory_analysis()
        seconds = time.perf_counter() - started
    theta = training.problem.meta.theta(state)
    return Cost(
        sum(x.size for x in jax.tree.leaves(theta)),
        _bytes(state),
        int(memory.temp_size_in_bytes),
        seconds,
    )


def costs(options: argparse.Namespace, overrides: list[str]) -> Iterator[EnvironmentResult]:
    """Yields one result: the memory of the experiment's outer step at every horizon."""
    experiment = experiments.load(options.experiment)
    config = experiments.configure(experiment, options.preset, overrides, options.flags)
    for horizon in options.horizons:
        check_positive(horizons=horizon)
    started = time.perf_counter()
    found: dict[str, Cost] = {}
    for horizon in dict.fromkeys(options.horizons):
        training = build(_at(config, horizon))
        found[f"{horizon:g}x"] = cost(training)
        print(_described(training, found[f"{horizon:g}x"]), flush=True)
    memory = {name: np.array([float(entry.temporary_bytes)]) for name, entry in found.items()}
    yield EnvironmentResult(
        env=experiment.name,
        steps=np.array([config.updates]),
        curves={name: values[None] for name, values in memory.items()},
        scores=memory,
        settings={**experiments.to_json(config), "costs": {n: vars(x) for n, x in found.items()}},
        seconds=time.perf_counter() - started,
        diverged=dict.fromkeys(found, 0),
        measure=MEMORY,
    )


def command(options: argparse.Namespace, overrides: list[str]) -> int:
    """`metarl cost EXPERIMENT [--horizons X ...]`."""
    check_folder("--json", options.json)
    results = list(costs(options, overrides))
    if options.json:
        save_results(options.json, results)
    return 0


@contextmanager
def _no_cache() -> Iterator[None]:
    """Compiles everything inside anew; what was compiled before stays cached."""
    cached = jax.config.jax_enable_compilation_cache  # type: ignore[attr-defined]
    jax.config.update("jax_enable_compilation_cache", False)
    compilation_cache.reset_cache()  # the setting is read once
    try:
        yield
    finally:
        jax.config.update("jax_enable_compilation_cache", cached)
        compilation_cache.reset_cache()


def _at(config: RunConfig, horizon: float) -> RunConfig:
    return config if horizon == 1.0 else config.stretched(horizon)


def _described(training: MetaTraining, found: Cost) -> str:
    config = training.config
    return (
        f"{config.lifetimes} lifetimes, {config.updates} updates of each a generation, "
        f"on {training.layout.devices} device(s): theta {found.theta:,} numbers, "
        f"state {found.state_bytes / 1e6:.1f} MB, beside it {found.temporary_bytes / 1e6:.1f} MB "
        f"a device; compiled in {found.compile_seconds:.1f} s"
    )


def _bytes(tree: PyTree) -> int:
    def of(leaf: Any) -> int:
        return int(leaf.size * leaf.dtype.itemsize)

    return sum(map(of, jax.tree.leaves(tree)))
