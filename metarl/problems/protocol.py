"""The contract of a problem: what is meta-learned in a run, apart from how the run goes."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from metarl.core.mesh import Layout
from metarl.core.types import Key, PyTree, Theta
from metarl.evaluation.measures import RETURN
from metarl.evaluation.report import Picture
from metarl.evaluation.results import EnvironmentResult
from metarl.outer.protocol import MetaOptimizer
from metarl.problems.algorithms import AgentNames

LEARNED, START = "learned", "start"
"""What a report calls theta after training, and before."""


def horizon_name(env: str, horizon: float) -> str:
    """What an environment is called where lifetimes are stretched: `gymnax/CartPole-v1 4x`."""
    return env if horizon == 1.0 else f"{env} {horizon:g}x"


class Comparison(Protocol):
    """An evaluation of the result on one environment or family of tasks, against baselines."""

    @property
    def name(self) -> str:
        """Name of the environment or family, and of what distinguishes this comparison."""
        ...

    @property
    def held_out(self) -> bool:
        """Whether it was not part of meta-training."""
        ...

    def measure(self, theta: Theta, start: Theta, key: Key, layout: Layout) -> EnvironmentResult:
        """Trains all candidates; the learned one is `LEARNED` in the result.

        Args:
          theta: meta-parameters after meta-training.
          start: meta-parameters before it.
          key: root of all random numbers.
          layout: placement of training runs on devices and chunks.
        """
        ...


@dataclass(frozen=True)
class Problem:
    """A meta-learning problem, built from a config.

    Attributes:
      init: `key -> theta`.
      meta: outer optimizer with its estimator.
      comparisons: evaluations of the result, those where it was trained first.
      artifact_kind: name of what theta is, such as `drift function`.
      description: use of it, the end of a sentence that begins with `artifact_kind`.
      save: `(path, theta, card) -> path` of the artifact.
      example_code: Python that uses an artifact, `{path}` in place of its path.
      example_command: command that uses it, likewise.
      pictures: `(theta, rows of observe) -> figures` of the report, by file stem.
      observe: `state of meta -> row` of a file of its own, at every checkpoint; empty = none.
      fitness: key of the summary that is logged as fitness, higher is better; None = minus loss.
      measure: quantity that fitness is, a name of `metarl.evaluation.measures.MEASURES`.
      kernels: implementations chosen, by the name of the kernel; empty = none is used.
    """

    init: Callable[[Key], Theta]
    meta: MetaOptimizer
    comparisons: Sequence[Comparison]
    artifact_kind: str
    description: str
    save: Callable[[str | Path, Theta, Mapping[str, Any]], Path]
    example_code: str
    example_command: str
    pictures: Callable[[Theta, list[dict[str, Any]]], dict[str, Picture]] = lambda theta, rows: {}
    observe: Callable[[PyTree], dict[str, Any]] = lambda state: {}
    fitness: str | None = None
    measure: str = RETURN
    kernels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class ProblemKind:
    """A kind of thing that is meta-learned, as its package registers it.

    Attributes:
      name: name of the kind, such as `drift`.
      config: class of its configs, which meets `metarl.problems.config.RunConfig`.
      build: `(config, layout) -> problem`.
      agents: algorithms of RL agents that it contributes to `metarl eval`; None = none.
      baselines: name -> label of what its results are compared with, the reference (1 on a
        normalized scale) first; a handcrafted algorithm of `agents` without a label has its name.
      listing: `() -> {heading: names}` for `metarl list`.
    """

    name: str
    config: type
    build: Callable[[Any, Layout], Problem]
    agents: AgentNames | None = None
    baselines: Mapping[str, str] = field(default_factory=dict)
    listing: Callable[[], Mapping[str, Sequence[str]]] = lambda: {}

    @property
    def labels(self) -> dict[str, str]:
        """Labels of all baselines, those of handcrafted algorithms included."""
        names = self.agents.handcrafted if self.agents is not None else ()
        return {**self.baselines, **{name: name for name in names if name not in self.baselines}}
