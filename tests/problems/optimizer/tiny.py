"""A small run that meta-trains an optimizer."""

from metarl.estimators.antithetic import AntitheticTruncatedESConfig
from metarl.problems.config import LoopConfig, OuterConfig
from metarl.problems.optimizer.architectures import ArchitectureConfig
from metarl.problems.optimizer.config import (
    MetaLossConfig,
    OptimizerEvaluationConfig,
    TrainingTasksConfig,
    TrainOptimizerConfig,
)
from metarl.problems.optimizer.trial import TrialConfig

FAMILY = "quadratic?dimension=2"
GENERATIONS = 4

TINY = TrainOptimizerConfig(
    tasks=TrainingTasksConfig(families=(FAMILY,), lifetime=(4, 8)),
    optimizer=ArchitectureConfig(kind="learnable_sgd"),
    meta_loss=MetaLossConfig(truncation=2),
    pairs=AntitheticTruncatedESConfig(num_parallel=4, sigma=0.1),
    outer=OuterConfig(generations=GENERATIONS, learning_rate=0.1),
    evaluation=OptimizerEvaluationConfig(
        trial=TrialConfig(steps=4, tasks=3, baselines=("adam",), rates=(0.1, 1.0), reach=2),
        validation=2,
    ),
    loop=LoopConfig(checkpoint_every=2, keep=GENERATIONS),
)
