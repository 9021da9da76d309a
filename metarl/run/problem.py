"""What is meta-learned in a run, apart from how the run goes: theta, its optimizer, its exams."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from metarl.core.types import Key, PyTree, Theta
from metarl.envs.protocol import Environment
from metarl.evaluation.contenders import Contender
from metarl.evaluation.drift_plane import DriftGrid
from metarl.evaluation.report import Picture
from metarl.outer.protocol import MetaOptimizer

LEARNED, START = "learned", "start"
"""What a report calls theta after training, and before."""


def horizon_name(env: str, horizon: float) -> str:
    """What an environment is called where lifetimes are stretched: `gymnax/CartPole-v1 4x`."""
    return env if horizon == 1.0 else f"{env} {horizon:g}x"


@dataclass(frozen=True)
class Comparison:
    """One environment on which the result is compared with hand-made agents.

    Attributes:
      name: of the environment, and of what else tells this comparison from others.
      env: the environment.
      held_out: whether it is none of those of training.
      contenders: `(theta, theta at the start) -> agents by name`, the learned one as `LEARNED`.
    """

    name: str
    env: Environment
    held_out: bool
    contenders: Callable[[Theta, Theta], dict[str, Contender]]


@dataclass(frozen=True)
class Problem:
    """A meta-learning problem, built from a config.

    Attributes:
      init: `key -> theta`.
      meta: how theta moves.
      comparisons: what the result is measured by, the environments of training first.
      fitness: the summary that tells how well a life goes, higher is better; None = minus the loss.
      noun: what theta is, for people, such as `drift function`.
      use: what it is for, for people: the end of a sentence about it.
      save: `(path, theta, card) -> path` of the artifact.
      grids: `theta -> drifts` to draw; empty for a theta that is none.
      usage: Python that uses an artifact, `{path}` in place of its path.
      pictures: `(theta, rows of observe) -> further figures` of the report.
      observe: `state of meta -> a row for a file of its own`, at every checkpoint; empty = none.
    """

    init: Callable[[Key], Theta]
    meta: MetaOptimizer
    comparisons: tuple[Comparison, ...]
    noun: str
    use: str
    save: Callable[[str | Path, Theta, Mapping[str, Any]], Path]
    grids: Callable[[Theta], list[DriftGrid]]
    usage: str
    pictures: Callable[[Theta, list[dict[str, Any]]], dict[str, Picture]] = lambda theta, rows: {}
    fitness: str | None = None
    observe: Callable[[PyTree], dict[str, Any]] = lambda state: {}
