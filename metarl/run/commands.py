"""What each command does."""

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import jax

from metarl import envs, optimizers
from metarl.core.errors import check_positive, check_range
from metarl.core.keys import named
from metarl.core.mesh import Layout
from metarl.evaluation import envelope_files
from metarl.evaluation.baselines import BASELINES
from metarl.evaluation.evaluate import evaluate
from metarl.evaluation.results import EnvironmentResult, save_results
from metarl.io.runs import RunDirectory
from metarl.rules import lpg_registry, registry
from metarl.run import (
    algorithms,
    claims,
    cost,
    evolve,
    experiments,
    finish,
    optimizer_commands,
    optimizer_names,
    speed,
)
from metarl.run.build import Evolution, build
from metarl.run.config import LARGEST_SEED
from metarl.run.files import check_folder
from metarl.run.overrides import with_overrides
from metarl.run.problem import horizon_name
from metarl.run.progress import Display, duration
from metarl.run.tuning import tuned
from metarl.tasks import families


def list_everything(options: argparse.Namespace, overrides: list[str]) -> int:
    """`metarl list`."""
    del options, overrides
    print("experiments (metarl run NAME [--preset PRESET]):")
    for name in experiments.names():
        experiment = experiments.load(name)
        print(f"  {name:<10} {experiment.description}; presets: {', '.join(experiment.presets)}")
    print("rules (metarl eval RULE --env ENV):")
    print(f"  written down: {', '.join([*registry.HANDCRAFTED, *algorithms.HANDCRAFTED])}")
    shipped = [*registry.pretrained(), *lpg_registry.pretrained()]
    print(f"  learned, shipped: {', '.join(shipped) or 'none'}; or a .safetensors file")
    print(f"  released by others: {', '.join(f'{name}:PATH' for name in algorithms.EXTERNAL)}")
    print("optimizers (metarl score OPTIMIZER --family FAMILY):")
    print(f"  tuned: {', '.join(BASELINES)}")
    print(f"  learned, shipped: {', '.join(optimizers.names()) or 'none'}")
    print(f"  released by others: {', '.join(f'{n}:PATH' for n in optimizer_names.RELEASED_NAMES)}")
    print(f"  envelopes (--envelope): {', '.join(envelope_files.shipped()) or 'none'}")
    print("families of tasks:")
    for name in families.names():
        print(f"  {name}")
    print("environments:")
    for name in envs.registered():
        print(f"  {name}")
    print("claims: metarl claims list")
    return 0


def run_experiment(options: argparse.Namespace, overrides: list[str]) -> int:
    """`metarl run EXPERIMENT`."""
    experiment = experiments.load(options.experiment)
    if options.settings:
        overrides = [*overrides, "--help"]
    config = experiments.configure(experiment, options.preset, overrides, options.flags)
    evolution = build(config)
    run = RunDirectory.create(
        Path(options.runs), experiment.name, experiments.to_json(config), options.out
    )
    return _advance(run, evolution)


def resume(options: argparse.Namespace, overrides: list[str]) -> int:
    """`metarl resume RUN`."""
    del overrides
    run = RunDirectory.open(options.run)
    return _advance(run, build(experiments.read(run)))


def _advance(run: RunDirectory, evolution: Evolution) -> int:
    started = time.monotonic()
    config = evolution.config
    with run.lock():
        rows = run.metrics.rows()
        finish.record_machine(run, evolution)
        try:
            with Display(config.outer.generations, len(rows)) as display:
                display.note(f"run: {run.path}")
                display.note(
                    f"{config.lifetimes} lifetimes of {config.updates} updates a "
                    f"generation, {evolution.layout.devices} {jax.devices()[0].platform} device(s)"
                )
                theta = evolve.evolve(run, evolution, display)
            page = finish.finish(run, evolution, theta, _say)
        except BaseException:
            print(f"go on with: metarl resume {run.path}", file=sys.stderr)
            raise
    print(f"report: {page}   ({duration(time.monotonic() - started)})")
    return 0


def _say(text: str) -> None:
    print(text, flush=True)


def report(options: argparse.Namespace, overrides: list[str]) -> int:
    """`metarl report RUN`: from whatever the run has so far."""
    del overrides
    run = RunDirectory.open(options.run)
    evolution = build(experiments.read(run))
    theta, generation = evolve.latest_theta(run, evolution)
    page = finish.report(run, evolution, theta, finish.measured(run))
    print(f"after generation {generation}: {page}")
    return 0


def evaluate_rules(options: argparse.Namespace, overrides: list[str]) -> int:
    """`metarl eval RULE ... --env ENV ...`."""
    check_folder("--json", options.json)
    results = []
    for result in evaluations(options, overrides):
        print(finish.describe_result(result), flush=True)
        results.append(result)
        if options.json:
            save_results(options.json, results)
    return 0


def evaluations(options: argparse.Namespace, overrides: list[str]) -> Iterator[EnvironmentResult]:
    """Yields one `EnvironmentResult` an environment, as it is measured."""
    check_positive(seeds=options.seeds, steps=options.steps, chunk=options.chunk)
    for horizon in options.horizons:
        check_positive(horizons=horizon)
    check_range(0, LARGEST_SEED, seed=options.seed)
    found = {name: algorithms.by_name(name) for name in options.rules}
    jobs = []
    for name in dict.fromkeys(options.env):
        env = envs.make(name)
        chosen = with_overrides(
            "metarl eval",
            algorithms.default_settings(env, options.steps),
            overrides,
            options.flags,
        )
        stretched = algorithms.at_horizons(chosen, options.horizons)
        for horizon, settings in zip(options.horizons, stretched, strict=True):
            everyone = dict.fromkeys(found, settings)
            algorithms.contenders(env, found, everyone)  # refuses what does not fit, before work
            jobs.append((horizon_name(env.name, horizon), env, settings))
    layout = Layout(min(len(jax.devices()), options.seeds), options.chunk)
    for name, env, settings in jobs:
        key = named(jax.random.key(options.seed), f"evaluation {name}")
        everyone = dict.fromkeys(found, settings)
        if options.tune:
            key_tune, seeds = named(key, "tune"), options.tune_seeds
            everyone = tuned(env, found, settings, options.tune, seeds, key_tune, layout)
        agents = algorithms.contenders(env, found, everyone)
        result = evaluate(env, agents, options.seeds, key, layout=layout)
        yield replace(result, env=name)


def claims_command(options: argparse.Namespace, overrides: list[str]) -> int:
    """`metarl claims list | table | verify NAME`."""
    del overrides
    return claims.run(
        options,
        {
            "eval": evaluations,
            "score": optimizer_commands.scores,
            "cost": cost.costs,
            "speed": speed.speeds,
        },
    )


COMMANDS: dict[str, Callable[[argparse.Namespace, list[str]], int]] = {
    "list": list_everything,
    "run": run_experiment,
    "resume": resume,
    "eval": evaluate_rules,
    "report": report,
    "cost": cost.command,
    "speed": speed.command,
    "score": optimizer_commands.score,
    "envelope": optimizer_commands.envelope,
    "claims": claims_command,
}
