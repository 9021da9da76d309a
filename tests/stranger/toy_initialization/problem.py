"""Meta-learns where gradient descent starts, on quadratics with random minima.

The mean of the minima is the best start, so the result has a known answer: `CENTER`.
"""

import time
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from metarl.core.contracts import Unroll
from metarl.core.errors import check_positive
from metarl.estimators.full_es import FullESConfig
from metarl.evaluation.measures import TRAINING_LOSS
from metarl.evaluation.results import EnvironmentResult
from metarl.io.artifacts import save_artifact
from metarl.problems.config import LoopConfig, OuterConfig
from metarl.problems.outer import es_meta_optimizer
from metarl.problems.protocol import LEARNED, START, Problem, ProblemKind

CENTER = (1.0, -1.0)


@dataclass(frozen=True)
class ToyConfig:
    """A run that meta-learns an initialization."""

    seed: int = 0
    steps: int = 4
    learning_rate: float = 0.1
    es: FullESConfig = field(default_factory=lambda: FullESConfig(population=16, sigma=0.1))
    outer: OuterConfig = field(
        default_factory=lambda: OuterConfig(generations=40, learning_rate=0.1)
    )
    loop: LoopConfig = field(default_factory=LoopConfig)

    def __post_init__(self):
        check_positive(steps=self.steps, learning_rate=self.learning_rate)

    trained_on = ("quadratics",)

    @property
    def lifetimes(self):
        return self.es.population * self.es.tasks * self.es.seeds

    @property
    def num_parallel(self):
        return self.lifetimes

    @property
    def updates(self):
        return self.steps

    @property
    def steps_per_generation(self):
        return self.lifetimes * self.steps

    def stretched(self, horizon):
        return replace(self, steps=max(1, round(self.steps * horizon)))


class Quadratics:
    """Minima around `CENTER`."""

    def sample(self, key):
        return jnp.array(CENTER) + 0.1 * jax.random.normal(key, (2,))


class Log(NamedTuple):
    loss: jax.Array


@dataclass(frozen=True)
class GradientDescent:
    """The learner: theta is where it starts."""

    learning_rate: float

    def init(self, key, theta, task):
        del key, task
        return theta["start"]

    def step(self, key, theta, task, state):
        del key, theta
        state = state - self.learning_rate * (state - task)
        return state, Log(0.5 * jnp.sum((state - task) ** 2))


def last_loss(log):
    return log.loss[-1]


@dataclass(frozen=True)
class ToyComparison:
    """The learned start, the one before, and the origin, on fresh quadratics."""

    unroll: Unroll
    name: str = "quadratics"
    held_out: bool = False

    def measure(self, theta, start, key, layout):
        del layout
        began = time.monotonic()
        thetas = {LEARNED: theta, START: start, "origin": {"start": jnp.zeros(2)}}
        keys = jax.random.split(key, 8)

        @jax.jit
        def losses(theta):
            return jax.vmap(
                lambda k: self.unroll.run(k, theta, self.unroll.tasks.sample(k))[1].loss
            )(keys)

        curves = {name: np.asarray(losses(entry)) for name, entry in thetas.items()}
        return EnvironmentResult(
            env=self.name,
            steps=np.arange(1, self.unroll.length + 1),
            curves=curves,
            scores={name: curve[:, -1] for name, curve in curves.items()},
            diverged=dict.fromkeys(curves, 0),
            seconds=time.monotonic() - began,
            measure=TRAINING_LOSS,
        )


def build(config, layout):
    """Builds the problem."""
    unroll = Unroll(Quadratics(), GradientDescent(config.learning_rate), config.steps, last_loss)

    def init(key):
        del key
        return {"start": jnp.array([-2.0, 2.0])}

    def save(path, theta, card):
        return save_artifact(path, jax.tree.map(np.asarray, theta), {**card, "kind": "toy"})

    return Problem(
        init=init,
        meta=es_meta_optimizer(config.es, config.outer, (unroll,), layout),
        comparisons=(ToyComparison(unroll),),
        artifact_kind="initialization",
        description="gradient descent starts there",
        save=save,
        example_code="from metarl.io.artifacts import load_artifact\n"
        "load_artifact({path!r}).arrays",
        example_command="metarl toy {path}",
        measure=TRAINING_LOSS,
    )


PROBLEM = ProblemKind(
    name="toy_initialization", config=ToyConfig, build=build, baselines={"origin": "the origin"}
)
