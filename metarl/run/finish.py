"""What follows the last generation: the artifact, the comparison, the report.

Every part is saved as it is made, so that a run killed here goes on here.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from metarl.core.keys import named
from metarl.core.types import Theta
from metarl.envs.names import base_name
from metarl.evaluation.describe import describe_result, interquartile_means
from metarl.evaluation.measures import MEASURES
from metarl.evaluation.report import ReportInputs, save_report
from metarl.evaluation.results import EnvironmentResult, load_results, save_results
from metarl.io import strict_json
from metarl.io.artifacts import config_hash, load_artifact
from metarl.io.atomic import atomic_write_text
from metarl.io.runs import RunDirectory
from metarl.problems.protocol import LEARNED
from metarl.run.build import MetaTraining
from metarl.run.devices import describe, peak_memory_mb
from metarl.run.experiments import command_line, load

Say = Callable[[str], None]


def finish(run: RunDirectory, training: MetaTraining, theta: Theta, say: Say) -> Path:
    """Saves the artifact, compares it, writes the report; returns the report's path."""
    results = compare(run, training, theta, say)
    record_machine(run, training)
    artifact = save_learned(run, training, theta, results)
    say(f"learned {training.problem.artifact_kind}: {artifact}")
    return report(run, training, theta, results)


def compare(
    run: RunDirectory, training: MetaTraining, theta: Theta, say: Say
) -> list[EnvironmentResult]:
    """Compares where it was trained and where it never was; goes on where it stopped."""
    results = measured(run)
    done = {result.env for result in results}
    missing = [entry for entry in training.problem.comparisons if entry.name not in done]
    if missing:
        places = MEASURES[training.problem.measure]
        many = places.place if len(missing) == 1 else places.places
        say(f"comparing with what is handcrafted on {len(missing)} {many} ...")
    for comparison in missing:
        key = named(training.key, f"evaluation {comparison.name}")
        result = comparison.measure(theta, training.theta_start(), key, training.layout)
        results.append(result)
        save_results(results_path(run), results)
        say(describe_result(result))
    return results


def save_learned(
    run: RunDirectory, training: MetaTraining, theta: Theta, results: list[EnvironmentResult]
) -> Path:
    """Saves theta as an artifact, whose card says how it was made and how it scored."""
    config = training.config
    scores = {
        result.env: {
            "held_out": result.held_out,
            "seeds": len(next(iter(result.scores.values()))),
            result.kind.steps.replace(" ", "_"): int(result.steps[-1]),
            "interquartile_mean": interquartile_means(result),
            **{name: interquartile_means(result.of(name)) for name in result.further},
        }
        for result in results
    }
    name = f"{run.experiment}-{'-'.join(short_name(env) for env in config.trained_on)}"
    problem = training.problem
    card = {
        "name": name,
        "description": f"{problem.artifact_kind.capitalize()} meta-trained on "
        f"{', '.join(config.trained_on)} by metarl {run.experiment}; {problem.description}.",
        "made_by": f"metarl run {run.experiment}: {config.outer.generations} outer steps of "
        f"{config.lifetimes} lifetimes, {config.outer.optimizer}",
        "config": run.config,
        "config_hash": config_hash(run.config),
        "versions": run.versions,
        "scores": scores,
        "licence": "Apache-2.0",
    }
    return problem.save(run.artifacts / f"{name}.safetensors", theta, card)


def short_name(env: str) -> str:
    """`gymnax/CartPole-v1` -> `cartpole`, `gymnax/Breakout-MinAtar` -> `breakout`."""
    return base_name(env).split("/")[-1].split("-")[0].lower()


def report(
    run: RunDirectory, training: MetaTraining, theta: Theta, results: list[EnvironmentResult]
) -> Path:
    """Writes `report.html` and its figures; returns its path."""
    artifact = next(iter(sorted(run.artifacts.glob("*.safetensors"))), None)
    rows = run.metrics.rows()
    generations = training.config.outer.generations
    problem = training.problem
    notes = []
    if len(rows) < generations:
        notes.append(f"Stopped after generation {len(rows)} of {generations}.")
    inputs = ReportInputs(
        title=f"{run.experiment} on {', '.join(training.config.trained_on)}",
        experiment=run.experiment,
        config=run.config,
        versions=run.versions,
        rows=rows,
        results=results,
        cost=_cost(run, training, rows, results),
        artifact_path=str(artifact or ""),
        card=load_artifact(artifact).card if artifact else {},
        notes=notes,
        command=command_line(load(run.experiment), training.config),
        learned=LEARNED,
        description=f"{problem.artifact_kind.capitalize()}: {problem.description}.",
        example_code=problem.example_code.format(path=str(artifact)) if artifact else "",
        example_command=problem.example_command,
        measure=problem.measure,
        pictures=problem.pictures(theta, run.observations.rows()),
    )
    save_report(run.report, inputs, run.figures)
    return run.report


def record_machine(run: RunDirectory, training: MetaTraining) -> None:
    """Writes down what the run runs on: devices, kernels, the most memory that a process used."""
    path = _machine_path(run)
    before = strict_json.parse(path.read_bytes()) if path.exists() else {}
    peak = max(peak_memory_mb(), before.get("peak_memory_mb", 0.0))
    found = {**describe(), **training.problem.kernels, "peak_memory_mb": peak}
    atomic_write_text(path, strict_json.pretty(found))


def _machine_path(run: RunDirectory) -> Path:
    return run.path / "machine.json"


def _cost(
    run: RunDirectory,
    training: MetaTraining,
    rows: list[dict[str, Any]],
    results: list[EnvironmentResult],
) -> dict[str, Any]:
    seconds = phases(rows, training.config.loop.log_every)
    seconds["evaluation"] = sum(result.seconds for result in results)
    path, counter = _machine_path(run), MEASURES[training.problem.measure].counter
    return {
        "seconds": seconds,
        counter: rows[-1][counter] if rows else 0,
        **(strict_json.parse(path.read_bytes()) if path.exists() else {}),
    }


def phases(rows: list[dict[str, Any]], log_every: int) -> dict[str, float]:
    """Splits the seconds of training, over every process of the run, into start and the rest.

    Args:
      rows: metrics; `seconds` count on over a resume.
      log_every: generations between two logs, which share their seconds.
    """
    if not rows:
        return {}
    total = rows[-1]["seconds"]
    log_seconds = np.array([row["seconds"] for row in rows[log_every - 1 :: log_every]])
    if log_seconds.size < 2:
        return {"evolution": total}
    # The median, since a resumed run compiles again.
    start = max(0.0, log_seconds[0] - float(np.median(np.diff(log_seconds))))
    return {"compilation and start": start, "evolution": total - start}


def measured(run: RunDirectory) -> list[EnvironmentResult]:
    """The evaluations that a run has so far."""
    path = results_path(run)
    return load_results(path) if path.exists() else []


def results_path(run: RunDirectory) -> Path:
    """File of the evaluations."""
    return run.path / "results.json"
