"""Says how long the programs of experiments take to build: outer steps, and comparisons of agents.

  .venv/bin/python scripts/compile_times.py [EXPERIMENT | EXPERIMENT:PRESET ...] [--json FILE]

Processor seconds to trace, to lower and to compile, with no cache, on as many devices as a run
would take; nothing is executed but what makes theta. Comparisons of one environment with one
lifetime are one row. The default is every preset of every experiment, which takes long:
name some.
"""

import argparse
import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

os.environ["METARL_CACHE"] = ""

from metarl.run import devices

devices.prepare()

import jax  # noqa: E402

from metarl.core.mesh import Layout, on_mesh  # noqa: E402
from metarl.evaluation.candidates import groups, stacked_thetas  # noqa: E402
from metarl.evaluation.evaluate import training_program  # noqa: E402
from metarl.problems.algorithms import AgentComparison  # noqa: E402
from metarl.run import experiments  # noqa: E402
from metarl.run.build import build  # noqa: E402

Program = tuple[str, Callable[..., Any], tuple[Any, ...]]


def presets(names: list[str]) -> Iterator[tuple[str, Any]]:
    """Label and config of every preset that is named."""
    for name in names or experiments.names():
        experiment, _, wanted = name.partition(":")
        found = experiments.load(experiment)
        for preset in [wanted] if wanted else found.presets:
            yield f"{experiment}:{preset}", found.presets[preset]


def programs(config: Any) -> Iterator[Program]:
    """The outer step of an experiment, and what it compares agents by."""
    training = build(config)
    start = jax.eval_shape(training.init, training.key)
    yield "outer step", on_mesh(training.problem.meta.step, training.mesh), (training.key, start)
    theta = training.theta_start()
    seen: list[Any] = []
    for comparison in training.problem.comparisons:
        if not isinstance(comparison, AgentComparison):
            continue
        layout = Layout(min(len(jax.devices()), comparison.seeds))
        keys = jax.random.split(training.key, comparison.seeds)
        for group in groups(comparison.candidates(theta, theta)):
            one = next(iter(group.values()))
            program = training_program(comparison.env, one.learner, one.longest, len(group), layout)
            if program in seen:
                continue
            seen.append(program)
            label = f"{', '.join(group)} on {comparison.name}"
            yield label, program, (keys, stacked_thetas(group), jax.numpy.int32(one.updates))


def seconds(program: Any, arguments: tuple[Any, ...]) -> dict[str, float]:
    """Processor seconds of each stage."""
    begun = time.process_time()
    traced = program.trace(*arguments)
    traced_by = time.process_time()
    lowered = traced.lower()
    lowered_by = time.process_time()
    lowered.compile()
    compiled_by = time.process_time()
    jax.clear_caches()
    return {
        "trace": traced_by - begun,
        "lower": lowered_by - traced_by,
        "compile": compiled_by - lowered_by,
    }


def main() -> None:
    """Prints a row for each program."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="EXPERIMENT[:PRESET]")
    parser.add_argument("--json", help="write the numbers there")
    options = parser.parse_args()
    report: dict[str, dict[str, float]] = {}
    for name, config in presets(options.names):
        for label, program, arguments in programs(config):
            report[f"{name}, {label}"] = row = seconds(program, arguments)
            stages = ", ".join(f"{stage} {value:.1f}" for stage, value in row.items())
            print(f"{name}, {label}: {sum(row.values()):.1f} s ({stages})", flush=True)
    if options.json:
        Path(options.json).write_text(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
