"""Tuning every algorithm of a comparison alike: the same learning rates, the same seeds."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from metarl.core.errors import ConfigError, check_positive
from metarl.core.mesh import Layout
from metarl.core.types import Key
from metarl.envs.protocol import Environment
from metarl.evaluation.evaluate import evaluate
from metarl.problems.agents import make_agents
from metarl.problems.algorithms import Algorithm, Settings


def with_rate(settings: Settings, rate: float) -> Settings:
    """Replaces the learning rate of every kind of agent."""
    return replace(
        settings,
        learner=replace(settings.learner, learning_rate=rate),
        agent=replace(settings.agent, learning_rate=rate),
        baseline=replace(settings.baseline, learning_rate=rate),
    )


def tuned(
    env: Environment,
    algorithms: Mapping[str, Algorithm],
    settings: Settings,
    rates: Sequence[float],
    seeds: int,
    key: Key,
    layout: Layout,
) -> dict[str, Settings]:
    """Finds the learning rate of each algorithm with the highest mean score.

    Args:
      env: where.
      algorithms: name -> algorithm.
      settings: all but the learning rate.
      rates: what to try, the same for every algorithm.
      seeds: agents for each of them; use others to compare.
      key: of these seeds.
      layout: how they are laid over devices.

    Raises:
      ConfigError: no rate, or a rate or the number of seeds is not positive.
    """
    if not rates:
        raise ConfigError("Nothing to tune: no learning rate was given.")
    check_positive(tune_seeds=seeds, **{f"tune[{i}]": rate for i, rate in enumerate(rates)})
    means: dict[str, list[float]] = {name: [] for name in algorithms}
    for rate in rates:
        candidates = dict.fromkeys(algorithms, with_rate(settings, rate))
        result = evaluate(env, make_agents(env, algorithms, candidates), seeds, key, layout=layout)
        for name, scores in result.scores.items():
            # An agent that diverged disqualifies its rate.
            means[name].append(float(np.mean(scores)) if np.isfinite(scores).all() else -np.inf)
    return {name: with_rate(settings, rates[int(np.argmax(row))]) for name, row in means.items()}
