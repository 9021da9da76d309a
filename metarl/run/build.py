"""From a config to the objects it describes, and to one compiled outer loop."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import jax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from metarl.core.errors import ConfigError
from metarl.core.keys import named, split_named
from metarl.core.mesh import Layout, make_mesh, on_mesh
from metarl.core.types import Array, Key, PyTree, Theta
from metarl.outer.averaging import AveragedMetaOptimizer
from metarl.outer.protocol import MetaLog
from metarl.outer.steps import outer_steps
from metarl.problems import registry
from metarl.problems.config import RunConfig
from metarl.problems.protocol import Problem


@dataclass(frozen=True)
class MetaTraining:
    """A built experiment.

    Attributes:
      config: what it was built from.
      problem: what is meta-learned.
      layout: devices and chunks.
      mesh: the devices.
      init: `key -> state` of the outer loop, compiled.
      advance: `(key, state, generations [n]) -> (state, logs [n, ...])`, compiled; donates `state`.
    """

    config: RunConfig
    problem: Problem
    layout: Layout
    mesh: Mesh
    init: Callable[[Key], PyTree]
    advance: Callable[[Key, PyTree, Array], tuple[PyTree, MetaLog]]

    @property
    def key(self) -> Key:
        """The run's root key."""
        return jax.random.key(self.config.seed)

    def theta_start(self) -> Theta:
        """Theta before any meta-training."""
        return self.problem.init(named(self.key, "theta"))

    def place(self, state: PyTree) -> PyTree:
        """Puts a state from the disk where `init` and `advance` leave theirs.

        Laid out otherwise, it would be another argument type: `advance` would compile again.
        """
        return jax.device_put(state, NamedSharding(self.mesh, PartitionSpec()))


def build(config: RunConfig) -> MetaTraining:
    """Builds an experiment; what only its last part will need is made and checked here too.

    Raises:
      ConfigError: an unknown environment, rule or strategy, settings that do not fit an
        environment, or more devices than there are.
      ArtifactError: a rule to compare with is not there, or altered.
    """
    layout = _layout(config)
    problem = _averaged(registry.kind_of(config).build(config, layout), config.outer.average)
    meta = problem.meta
    mesh = make_mesh(layout.devices)

    def init(key: Key) -> PyTree:
        key_theta, key_outer = split_named(key, "theta", "outer")
        return meta.init(key_outer, problem.init(key_theta))

    return MetaTraining(
        config=config,
        problem=problem,
        layout=layout,
        mesh=mesh,
        init=on_mesh(init, mesh),
        advance=on_mesh(partial(outer_steps, meta), mesh, donate=(1,)),
    )


def _averaged(problem: Problem, decay: float) -> Problem:
    if decay == 0.0:
        return problem
    observe = problem.observe
    return replace(
        problem,
        meta=AveragedMetaOptimizer(problem.meta, decay),
        observe=lambda state: observe(state.state),
    )


def _layout(config: RunConfig) -> Layout:
    present = len(jax.devices())
    wanted = config.loop.devices or present
    if wanted > present:
        raise ConfigError(f"loop.devices={wanted}, but this machine shows {present} to jax.")
    return Layout(min(wanted, config.num_parallel), config.loop.chunk)
