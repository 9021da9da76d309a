"""One preset."""

from metarl.run.experiments import Experiment
from toy_initialization.problem import ToyConfig

EXPERIMENT = Experiment(
    name="toy-initialization",
    description="meta-learn an initialization on random quadratics",
    presets={"quick": ToyConfig()},
    default="quick",
)
