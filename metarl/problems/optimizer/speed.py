"""`metarl speed`: how long an update of an optimizer takes beside Adam's, on real networks."""

import argparse
import time
from collections.abc import Iterator, Mapping

import jax
import numpy as np

from metarl.core.errors import ConfigError, check_positive, check_range
from metarl.core.keys import named
from metarl.core.types import Key
from metarl.evaluation.describe import describe_result
from metarl.evaluation.measures import BYTES, SECONDS
from metarl.evaluation.results import EnvironmentResult, save_results
from metarl.io.files import check_folder
from metarl.problems.config import LARGEST_SEED
from metarl.problems.optimizer.speed_targets import (
    BenchmarkTarget,
    Networks,
    benchmark_target,
    compiled,
    together,
)
from metarl.tasks import families
from metarl.tasks.family import TaskFamily

REFERENCE = "adam"
"""Name of the target that all others are compared with."""


def command(options: argparse.Namespace, overrides: list[str]) -> int:
    """`metarl speed OPTIMIZER ... --family [N*]FAMILY ...`."""
    check_folder("--json", options.json)
    results = []
    for result in speeds(options, overrides):
        print(f"{describe_result(result)}\n{described(result)}", flush=True)
        results.append(result)
        if options.json:
            save_results(options.json, results)
    return 0


def described(result: EnvironmentResult) -> str:
    """Returns one line per target."""
    lines = []
    adam = np.median(result.scores[REFERENCE])
    for name, seconds in result.scores.items():
        lines.append(
            f"  {name}: {np.median(seconds) / adam:.1f} times Adam, "
            f"compiled in {result.settings['compile_seconds'][name]:.1f} s, "
            f"{result.further[BYTES][name][0, 0]:.1f} bytes a parameter"
        )
    return "\n".join(lines)


def speeds(options: argparse.Namespace, overrides: list[str]) -> Iterator[EnvironmentResult]:
    """Yields one result a family: seconds of every repetition, all optimizers taking turns."""
    del overrides
    check_positive(repeats=options.repeats)
    check_range(0, LARGEST_SEED, seed=options.seed)
    candidates = {
        name: benchmark_target(name) for name in dict.fromkeys([REFERENCE, *options.optimizers])
    }
    jobs = [_family(name) for name in dict.fromkeys(options.family)]
    for name, (family, copies) in zip(dict.fromkeys(options.family), jobs, strict=True):
        key = named(jax.random.key(options.seed), f"speed {name}")
        networks = _networks(family, copies, options.in_place, key)
        yield _timed(name, networks, candidates, options.repeats)


def _family(name: str) -> tuple[TaskFamily, int]:
    """`512*mlp/digits?width=32` is 512 networks in one call."""
    count, star, family = name.rpartition("*")
    if star and not (count.isdecimal() and int(count) > 0):
        raise ConfigError(f"--family {name}: {count!r} is no number of networks; such as 512*mlp.")
    return families.make(family), int(count) if star else 1


def _networks(family: TaskFamily, copies: int, in_place: bool, key: Key) -> Networks:
    init = jax.jit(together(lambda key: family.init(key, family.sample(key)), copies))
    params = init(jax.random.split(key, copies) if copies > 1 else key)
    grads = jax.tree.map(lambda x: 0.01 * jax.random.normal(key, x.shape, x.dtype), params)
    return Networks(params, grads, copies, in_place)


def _timed(
    name: str, networks: Networks, candidates: Mapping[str, BenchmarkTarget], repeats: int
) -> EnvironmentResult:
    started = time.perf_counter()
    programs = {rule: compiled(work_with(networks)) for rule, work_with in candidates.items()}
    seconds = {rule: np.zeros(repeats) for rule in candidates}
    for i in range(repeats):
        for rule, program in programs.items():
            seconds[rule][i] = program.run()
    size = networks.size
    needed = {rule: np.full((repeats, 1), x.bytes / size) for rule, x in programs.items()}
    return EnvironmentResult(
        env=name,
        steps=np.array([1]),
        curves={rule: values[:, None] for rule, values in seconds.items()},
        scores=seconds,
        settings={
            "parameters": size,
            "copies": networks.copies,
            "in_place": networks.in_place,
            "compile_seconds": {rule: x.compile_seconds for rule, x in programs.items()},
        },
        seconds=time.perf_counter() - started,
        diverged=dict.fromkeys(candidates, 0),
        measure=SECONDS,
        further={BYTES: needed},
    )
