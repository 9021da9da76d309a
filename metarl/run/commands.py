"""What each command does."""

import argparse
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import jax

from metarl import envs
from metarl.core.errors import check_positive, check_range
from metarl.core.keys import named
from metarl.core.mesh import Layout
from metarl.evaluation.describe import describe_result, duration
from metarl.evaluation.evaluate import evaluate
from metarl.evaluation.results import EnvironmentResult, save_results
from metarl.io.files import check_folder
from metarl.io.runs import RunDirectory
from metarl.problems import agents, registry
from metarl.problems.algorithms import at_horizons, default_settings
from metarl.problems.config import LARGEST_SEED
from metarl.problems.protocol import horizon_name
from metarl.run import experiments, finish, outer_loop
from metarl.run.build import MetaTraining, build
from metarl.run.overrides import with_overrides
from metarl.run.progress import Display
from metarl.run.tuning import tuned


def list_everything(options: argparse.Namespace, overrides: list[str]) -> int:
    """`metarl list`."""
    del options, overrides
    print("experiments (metarl run NAME [--preset PRESET]):")
    for name in experiments.names():
        experiment = experiments.load(name)
        print(f"  {name:<18} {experiment.description}; presets: {', '.join(experiment.presets)}")
    for kind in registry.kinds().values():
        for heading, lines in kind.listing().items():
            print(f"{heading}:")
            for line in lines:
                print(f"  {line}")
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
    training = build(config)
    run = RunDirectory.create(
        Path(options.runs), experiment.name, experiments.to_json(config), options.out
    )
    return _advance(run, training)


def resume(options: argparse.Namespace, overrides: list[str]) -> int:
    """`metarl resume RUN`."""
    del overrides
    run = RunDirectory.open(options.run)
    return _advance(run, build(experiments.read(run)))


def _advance(run: RunDirectory, training: MetaTraining) -> int:
    started = time.monotonic()
    config = training.config
    with run.lock():
        rows = run.metrics.rows()
        finish.record_machine(run, training)
        try:
            with Display(config.outer.generations, len(rows)) as display:
                display.note(f"run: {run.path}")
                display.note(
                    f"{config.lifetimes} lifetimes of {config.updates} updates a "
                    f"generation, {training.layout.devices} {jax.devices()[0].platform} device(s)"
                )
                theta = outer_loop.run_outer_loop(run, training, display)
            page = finish.finish(run, training, theta, _say)
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
    training = build(experiments.read(run))
    theta, generation = outer_loop.latest_theta(run, training)
    page = finish.report(run, training, theta, finish.measured(run))
    print(f"after generation {generation}: {page}")
    return 0


def evaluate_rules(options: argparse.Namespace, overrides: list[str]) -> int:
    """`metarl eval RULE ... --env ENV ...`."""
    check_folder("--json", options.json)
    results = []
    for result in evaluations(options, overrides):
        print(describe_result(result), flush=True)
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
    found = {name: agents.by_name(name) for name in options.rules}
    jobs = []
    for name in dict.fromkeys(options.env):
        env = envs.make(name)
        chosen = with_overrides(
            "metarl eval",
            default_settings(env, options.steps),
            overrides,
            options.flags,
        )
        stretched = at_horizons(chosen, options.horizons)
        for horizon, settings in zip(options.horizons, stretched, strict=True):
            candidates = dict.fromkeys(found, settings)
            agents.make_agents(env, found, candidates)  # refuses what does not fit, before work
            jobs.append((horizon_name(env.name, horizon), env, settings))
    layout = Layout(min(len(jax.devices()), options.seeds), options.chunk)
    for name, env, settings in jobs:
        key = named(jax.random.key(options.seed), f"evaluation {name}")
        candidates = dict.fromkeys(found, settings)
        if options.tune:
            key_tune, seeds = named(key, "tune"), options.tune_seeds
            candidates = tuned(env, found, settings, options.tune, seeds, key_tune, layout)
        trained = agents.make_agents(env, found, candidates)
        result = evaluate(env, trained, options.seeds, key, layout=layout)
        yield replace(result, env=name)
