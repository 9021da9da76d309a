"""What is meta-learned in a run, apart from how the run goes: theta, its optimizer, its exams."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

from metarl.core.mesh import Layout
from metarl.core.types import Key, PyTree, Theta
from metarl.envs.protocol import Environment
from metarl.evaluation.contenders import Contender
from metarl.evaluation.drift_plane import DriftGrid
from metarl.evaluation.evaluate import evaluate
from metarl.evaluation.measures import RETURN
from metarl.evaluation.report import Picture
from metarl.evaluation.results import EnvironmentResult
from metarl.outer.protocol import MetaOptimizer

LEARNED, START = "learned", "start"
"""What a report calls theta after training, and before."""


def horizon_name(env: str, horizon: float) -> str:
    """What an environment is called where lifetimes are stretched: `gymnax/CartPole-v1 4x`."""
    return env if horizon == 1.0 else f"{env} {horizon:g}x"


class Comparison(Protocol):
    """One place where what was learned is compared with what is hand-made."""

    @property
    def name(self) -> str:
        """Of the place, and of what else tells this comparison from others."""
        ...

    @property
    def held_out(self) -> bool:
        """Whether the place is none of those of training."""
        ...

    def measure(self, theta: Theta, start: Theta, key: Key, layout: Layout) -> EnvironmentResult:
        """Trains everyone; the result has the comparison's name, and what was learned as `LEARNED`.

        Args:
          theta: after meta-training.
          start: before it.
          key: randomness of everything.
          layout: how lives are laid over devices.
        """
        ...


@dataclass(frozen=True)
class AgentComparison:
    """A comparison of agents on an environment.

    Attributes:
      name: of the environment, and of what else tells this comparison from others.
      env: the environment.
      held_out: whether it is none of those of training.
      contenders: `(theta, theta at the start) -> agents by name`, the learned one as `LEARNED`.
      seeds: agents of each.
    """

    name: str
    env: Environment
    held_out: bool
    contenders: Callable[[Theta, Theta], dict[str, Contender]]
    seeds: int

    def measure(self, theta: Theta, start: Theta, key: Key, layout: Layout) -> EnvironmentResult:
        """Trains the agents; see `Comparison`."""
        everyone = self.contenders(theta, start)
        result = evaluate(self.env, everyone, self.seeds, key, self.held_out, layout)
        return replace(result, env=self.name)


@dataclass(frozen=True)
class Problem:
    """A meta-learning problem, built from a config.

    Attributes:
      init: `key -> theta`.
      meta: how theta moves.
      comparisons: what the result is measured by, where it was trained first.
      fitness: the summary that tells how well a life goes, higher is better; None = minus the loss.
      noun: what theta is, for people, such as `drift function`.
      use: what it is for, for people: the end of a sentence about it.
      save: `(path, theta, card) -> path` of the artifact.
      grids: `theta -> drifts` to draw; empty for a theta that is none.
      usage: Python that uses an artifact, `{path}` in place of its path.
      try_it: a command that uses it, likewise.
      pictures: `(theta, rows of observe) -> further figures` of the report.
      observe: `state of meta -> a row for a file of its own`, at every checkpoint; empty = none.
      measure: what fitness is of, a name of `metarl.evaluation.measures.MEASURES`.
      kernels: implementations chosen, by the name of the kernel; empty = it uses none.
    """

    init: Callable[[Key], Theta]
    meta: MetaOptimizer
    comparisons: Sequence[Comparison]
    noun: str
    use: str
    save: Callable[[str | Path, Theta, Mapping[str, Any]], Path]
    grids: Callable[[Theta], list[DriftGrid]]
    usage: str
    try_it: str = "metarl eval {path} ppo a2c --env gymnax/CartPole-v1"
    pictures: Callable[[Theta, list[dict[str, Any]]], dict[str, Picture]] = lambda theta, rows: {}
    fitness: str | None = None
    observe: Callable[[PyTree], dict[str, Any]] = lambda state: {}
    measure: str = RETURN
    kernels: Mapping[str, str] = field(default_factory=dict)
