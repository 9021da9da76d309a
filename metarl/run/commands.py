"""What each command does."""

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import jax
import tyro

from metarl import envs
from metarl.core.errors import RunError, check_positive, check_range
from metarl.core.keys import named
from metarl.core.mesh import Layout
from metarl.evaluation.evaluate import Contender, evaluate
from metarl.evaluation.results import EnvironmentResult, save_results
from metarl.inner.ppo_config import PPOConfig
from metarl.io.runs import RunDirectory
from metarl.rules import library
from metarl.run import claims, evolve, experiments, finish
from metarl.run.build import Evolution, build
from metarl.run.config import LARGEST_SEED
from metarl.run.progress import Display, duration
from metarl.run.settings import settings_for


def list_everything(options: argparse.Namespace, overrides: list[str]) -> int:
    """`metarl list`."""
    del options, overrides
    print("experiments (metarl run NAME [--preset PRESET]):")
    for name in experiments.names():
        experiment = experiments.load(name)
        print(f"  {name:<10} {experiment.description}; presets: {', '.join(experiment.presets)}")
    print("rules (metarl eval RULE --env ENV):")
    print(f"  written down: {', '.join(library.WRITTEN_DOWN)}")
    print(f"  learned, shipped: {', '.join(library.shipped()) or 'none'}; or a .safetensors file")
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
    config = experiments.configure(experiment, options.preset, overrides)
    evolution = build(config)
    run = RunDirectory.create(
        Path(options.runs), experiment.name, experiments.to_json(config), options.out
    )
    return _advance(run, evolution)


def resume(options: argparse.Namespace, overrides: list[str]) -> int:
    """`metarl resume RUN`."""
    del overrides
    run = RunDirectory.open(options.run)
    return _advance(run, build(experiments.from_json(run.config)))


def _advance(run: RunDirectory, evolution: Evolution) -> int:
    started = time.monotonic()
    config = evolution.config
    with run.lock():
        rows = run.metrics.rows()
        finish.record_machine(run)
        try:
            with Display(config.outer.generations, len(rows)) as display:
                display.note(f"run: {run.path}")
                display.note(
                    f"{config.lifetimes} lifetimes of {config.learner.updates} updates a "
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
    evolution = build(experiments.from_json(run.config))
    theta, generation = evolve.latest_theta(run, evolution)
    page = finish.report(run, evolution, theta, finish.measured(run))
    print(f"after generation {generation}: {page}")
    return 0


@dataclass(frozen=True)
class _EvalSettings:
    """Overrides of `metarl eval`.

    Attributes:
      learner: the actor-critic, the same for every rule.
    """

    learner: PPOConfig


def evaluate_rules(options: argparse.Namespace, overrides: list[str]) -> int:
    """`metarl eval RULE ... --env ENV ...`."""
    if options.json and not Path(options.json).absolute().parent.is_dir():
        raise RunError(f"--json {options.json}: there is no folder {Path(options.json).parent}.")
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
    check_range(0, LARGEST_SEED, seed=options.seed)
    contenders = {name: contender(name) for name in options.rules}
    names = dict.fromkeys(options.env)
    jobs = [(envs.make(name), _eval_config(name, options, overrides)) for name in names]
    layout = Layout(min(len(jax.devices()), options.seeds), options.chunk)
    for env, config in jobs:
        key = named(jax.random.key(options.seed), f"evaluation {env.name}")
        yield evaluate(env, contenders, config, options.seeds, key, layout=layout)


def contender(name: str) -> Contender:
    """A rule by its name or path, with its meta-parameters."""
    rule = library.by_name(name)
    return Contender(rule, rule.init(jax.random.key(0)))


def _eval_config(env: str, options: argparse.Namespace, overrides: list[str]) -> PPOConfig:
    config = settings_for(env)
    if options.steps:
        config = replace(config, total_steps=options.steps)
    if not overrides:
        return config
    settings = tyro.cli(
        _EvalSettings, prog="metarl eval", default=_EvalSettings(config), args=overrides
    )
    return settings.learner


def claims_command(options: argparse.Namespace, overrides: list[str]) -> int:
    """`metarl claims list | table | verify NAME`."""
    del overrides
    return claims.run(options, evaluations)


COMMANDS: dict[str, Callable[[argparse.Namespace, list[str]], int]] = {
    "list": list_everything,
    "run": run_experiment,
    "resume": resume,
    "eval": evaluate_rules,
    "report": report,
    "claims": claims_command,
}
