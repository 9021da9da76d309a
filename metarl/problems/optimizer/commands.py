"""`metarl score` and `metarl envelope`: optimizers against tuned baselines on tasks."""

import argparse
from collections.abc import Iterator
from dataclasses import replace

import jax
import numpy as np

from metarl.core.errors import check_choice, check_positive, check_range
from metarl.core.keys import named
from metarl.core.mesh import Layout
from metarl.core.types import Key
from metarl.evaluation.describe import describe_result
from metarl.evaluation.results import EnvironmentResult, save_results
from metarl.io.files import check_folder
from metarl.io.versions import collect_versions
from metarl.problems.config import LARGEST_SEED
from metarl.problems.optimizer.baselines import BASELINES, CONSTANT, RATES
from metarl.problems.optimizer.envelope import Envelope
from metarl.problems.optimizer.envelope_files import StoredEnvelopes, load_envelopes, save_envelopes
from metarl.problems.optimizer.names import by_name
from metarl.problems.optimizer.trial import TrialConfig, compare_optimizers, run_grid
from metarl.problems.protocol import horizon_name
from metarl.tasks import families
from metarl.tasks.family import TaskFamily

_VERSIONS_KEPT = ("metarl", "jax", "git_commit")


def score(options: argparse.Namespace, overrides: list[str]) -> int:
    """`metarl score OPTIMIZER ... --family FAMILY ...`."""
    del overrides
    check_folder("--json", options.json)
    results = []
    for result in scores(options, []):
        print(describe_result(result), flush=True)
        for name, count in result.settings["speedups_at_an_end_of_the_envelope"].items():
            if count:
                print(f"  {count} speed-up(s) of {name} lie at an end of the envelope")
        results.append(result)
        if options.json:
            save_results(options.json, results)
    return 0


def scores(options: argparse.Namespace, overrides: list[str]) -> Iterator[EnvironmentResult]:
    """Yields one result a family and horizon, as it is measured."""
    del overrides
    check_range(0, LARGEST_SEED, seed=options.seed)
    check_positive(chunk=options.chunk, **{f"horizons {h}": h for h in options.horizons})
    named_baselines = [name for name in options.optimizers if name in BASELINES]
    learned = [name for name in options.optimizers if name not in BASELINES]
    candidates = {name: by_name(name) for name in dict.fromkeys(learned)}
    stored = load_envelopes(options.envelope) if options.envelope else None
    baselines = dict.fromkeys([*(() if stored else CONSTANT), *named_baselines])
    trial = TrialConfig(
        steps=options.steps,
        tasks=options.tasks,
        seeds=options.seeds,
        baselines=tuple(baselines),
        rates=tuple(options.rates or RATES),
        reach=1 if stored else options.reach,
    )
    jobs = []
    for name in dict.fromkeys(options.family):
        family = families.make(name)
        key = _tasks_key(options.seed, name)
        envelopes = None
        if stored is not None:
            alike = _all_alike(family, key)
            envelopes = stored.for_tasks(name, options.seed, options.tasks, alike)
        jobs.append((family, key, envelopes))
    for family, key, envelopes in jobs:
        for horizon in options.horizons:
            longer = replace(trial, steps=max(1, round(horizon * trial.steps)))
            shown = replace(family, name=horizon_name(family.name, horizon))
            layout = _layout(options, trial.tasks * trial.seeds)
            yield compare_optimizers(
                shown, candidates, longer, key, layout=layout, envelopes=envelopes
            )


def envelope(options: argparse.Namespace, overrides: list[str]) -> int:
    """`metarl envelope FAMILY --out FILE`."""
    del overrides
    check_range(0, LARGEST_SEED, seed=options.seed)
    check_folder("--out", options.out)
    baselines = tuple(options.baselines or CONSTANT)
    for name in baselines:
        check_choice("baseline of an envelope", name, CONSTANT)
    family = families.make(options.family)
    trial = TrialConfig(
        steps=options.steps,
        tasks=options.tasks,
        seeds=options.seeds,
        baselines=baselines,
        rates=tuple(options.rates or RATES),
        reach=1,
        points=options.points,
    )
    runs = len(trial.rates) * trial.tasks * trial.seeds
    key = _tasks_key(options.seed, options.family)
    grid = run_grid(family, trial, key, _layout(options, runs))
    found = grid.envelopes(options.ema)
    versions = collect_versions()
    made = {
        "baselines": list(trial.baselines),
        "rates": list(trial.rates),
        "seeds": trial.seeds,
        "updates": trial.steps,
        "ema": options.ema,
        "loss": "mean training loss of 4 batches, the same at every knot",
        "versions": {name: versions[name] for name in _VERSIONS_KEPT if versions.get(name)},
    }
    save_envelopes(options.out, StoredEnvelopes(options.family, options.seed, tuple(found), made))
    for number, entry in enumerate(found):
        print(f"{options.family}, task {number + 1}: {_described(entry)}")
    print(options.out)
    return 0


def _described(entry: Envelope) -> str:
    shown = np.unique(np.linspace(0, entry.steps.size - 1, 5).round().astype(int))
    return ", ".join(f"{entry.losses[i]:.4g} at {entry.steps[i]:g}" for i in shown)


def _tasks_key(seed: int, family: str) -> Key:
    """Of the tasks: the same for envelopes and scores, whatever the horizon."""
    return named(jax.random.key(seed), f"score {family}")


def _all_alike(family: TaskFamily, key: Key) -> bool:
    """Whether all tasks of a family are the same one, as far as eight of them tell."""
    tasks = jax.device_get(jax.vmap(family.sample)(jax.random.split(key, 8)))
    return all(bool(np.all(x == x[:1])) for x in map(np.asarray, jax.tree.leaves(tasks)))


def _layout(options: argparse.Namespace, runs: int) -> Layout:
    return Layout(min(len(jax.devices()), runs), options.chunk)
