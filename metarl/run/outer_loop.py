"""The outer loop of a run: logging, checkpoints, metrics, resume."""

import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from metarl.core.errors import RunError
from metarl.core.types import PyTree, Theta
from metarl.evaluation.measures import MEASURES
from metarl.io.runs import RunDirectory
from metarl.outer.protocol import MetaLog
from metarl.run.build import MetaTraining
from metarl.run.progress import Display


def run_outer_loop(run: RunDirectory, training: MetaTraining, display: Display) -> Theta:
    """Runs the generations that are still missing, and returns the final theta.

    Goes on from the newest checkpoint that verifies. Metrics and later checkpoints beyond it are
    dropped, so that a resumed run leaves the same files, and the same bits, as one that was never
    interrupted.

    Raises:
      RunError: the disk refuses, or no checkpoint verifies.
    """
    config = training.config
    checkpoints = run.checkpoints(config.loop.keep)
    state, generation = _restore(run, training, display)
    rows = run.metrics.rows()
    seconds = rows[-1]["seconds"] if rows else 0.0
    started = time.monotonic()
    while generation < config.outer.generations:
        until = min(generation + config.loop.log_every, config.outer.generations)
        numbers = jnp.arange(generation, until)
        state, logs = training.advance(training.key, state, numbers)
        logs = jax.device_get(logs)
        passed = seconds + time.monotonic() - started
        rows = [
            _row(training, number + 1, passed, logs, offset)
            for offset, number in enumerate(range(generation, until))
        ]
        for row in rows:
            run.metrics.append(row)
        display.log(rows, config.steps_per_generation)
        generation = until
        if generation % config.loop.checkpoint_every == 0 or generation == config.outer.generations:
            seen = training.problem.observe(state)
            if seen:
                run.observations.append({"generation": generation, **seen})
            checkpoints.save(generation, jax.device_get(state), {"generation": generation})
    return jax.device_get(training.problem.meta.theta(state))


def latest_theta(run: RunDirectory, training: MetaTraining) -> tuple[Theta, int]:
    """Theta of the newest checkpoint that verifies, and its generation.

    Raises:
      RunError: there is none.
    """
    template = jax.eval_shape(training.init, training.key)
    restored = run.checkpoints(training.config.loop.keep).latest(template)
    if restored is None:
        raise RunError(f"{run.path} has no checkpoint yet: `metarl resume {run.path}`.")
    return training.problem.meta.theta(restored.state), restored.step


def _restore(run: RunDirectory, training: MetaTraining, display: Display) -> tuple[PyTree, int]:
    checkpoints = run.checkpoints(training.config.loop.keep)
    template = jax.eval_shape(training.init, training.key)
    restored = checkpoints.latest(template)
    generation = 0 if restored is None else restored.step
    for problem in restored.skipped if restored else ():
        display.note(f"skipped: {problem}")
    checkpoints.delete_after(generation)
    run.metrics.truncate_after("generation", generation)
    run.observations.truncate_after("generation", generation)
    if restored is None:
        return training.init(training.key), 0
    display.note(f"resuming after generation {generation}")
    return training.place(restored.state), generation


def _row(
    training: MetaTraining, generation: int, seconds: float, logs: MetaLog, offset: int
) -> dict[str, Any]:
    config = training.config
    log = jax.tree.map(lambda x: x[offset], logs)
    fitness = 0.0 - np.asarray(log.losses, np.float64)  # and not -0.0
    if training.problem.fitness is not None:
        fitness = np.asarray(log.summary[training.problem.fitness], np.float64)
    row = {
        "generation": generation,
        "fitness_mean": fitness.mean(),
        "fitness_best": fitness.max(),
        "fitness_worst": fitness.min(),
        "meta_loss": float(np.mean(log.losses)),
        "diverged": int(log.diverged),
        "gradient_norm": float(log.gradient_norm),
        "update_norm": float(log.update_norm),
        MEASURES[training.problem.measure].counter: generation * config.steps_per_generation,
        "seconds": seconds,
    }
    if len(config.trained_on) > 1 and log.unroll_losses is not None:
        means = 0.0 - np.asarray(log.unroll_losses, np.float64).mean(axis=1)
        row["fitness_by_env"] = dict(zip(config.trained_on, means.tolist(), strict=True))
    if log.summary:
        row |= {name: float(np.mean(values)) for name, values in log.summary.items()}
    return row
