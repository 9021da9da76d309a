"""Learned optimizers: meta-train an update rule for networks, and compare it with tuned ones."""

from dataclasses import replace

from metarl.estimators.antithetic import AntitheticTruncatedESConfig
from metarl.optimizers.lopt.adafac_mlp_lopt import AdafacMLPLoptConfig
from metarl.problems.config import LoopConfig, OuterConfig
from metarl.problems.optimizer.architectures import ArchitectureConfig
from metarl.problems.optimizer.config import (
    MetaLossConfig,
    OptimizerEvaluationConfig,
    TrainingTasksConfig,
    TrainOptimizerConfig,
)
from metarl.problems.optimizer.trial import TrialConfig

DESCRIPTION = "meta-train an optimizer on small networks, and compare it with tuned Adam"

QUICK = TrainOptimizerConfig(
    tasks=TrainingTasksConfig(families=("mlp/digits?width=8-32&batch=64",), lifetime=(300, 300)),
    optimizer=ArchitectureConfig(
        kind="adafac_mlp_lopt", adafac_mlp_lopt=AdafacMLPLoptConfig(step_mult=1e-2)
    ),
    # On batches of training it learned to overfit: as low a training loss, twice Adam's held-out.
    meta_loss=MetaLossConfig(truncation=20, data="held_out"),
    method="pes",
    pairs=AntitheticTruncatedESConfig(num_parallel=16, pairs=1, sigma=0.01),
    outer=OuterConfig(generations=2500, learning_rate=3e-3, cosine_to=0.1, max_grad_norm=1.0),
    evaluation=OptimizerEvaluationConfig(
        families=(
            "mlp/digits?width=128&batch=64",
            "mlp/digits?width=32&depth=3&batch=64",
            "mlp/mnist1d?width=32&batch=64",
        ),
        horizons=(4.0,),
        trial=TrialConfig(steps=200, tasks=16, reach=3),
        validation=8,
    ),
    loop=LoopConfig(log_every=20, checkpoint_every=500),
)

TRUNCATED = replace(QUICK, method="truncated_es")

# Trained on narrow networks, tried on up to 16 times as wide ones; `sp` is the same optimizer under
# the usual parametrisation.
MULO = replace(
    QUICK,
    tasks=TrainingTasksConfig(families=("mu_mlp/digits?width=16-32&depth=2",), lifetime=(200, 200)),
    optimizer=replace(QUICK.optimizer, mup=True),
    outer=OuterConfig(
        generations=2000, learning_rate=3e-3, warm_up=100, cosine_to=0.3, max_grad_norm=1.0
    ),
    evaluation=replace(
        QUICK.evaluation,
        families=tuple(f"mu_mlp/digits?width={width}&depth=2" for width in (128, 256, 512)),
    ),
)

SP = replace(
    MULO,
    tasks=replace(MULO.tasks, families=("mlp/digits?width=16-32&depth=2",)),
    optimizer=QUICK.optimizer,
    evaluation=replace(
        MULO.evaluation,
        families=tuple(f"mlp/digits?width={width}&depth=2" for width in (128, 256, 512)),
    ),
)

# Adam under a schedule that knows how long training is, judged by where training ends.
SCHEDULE = replace(
    QUICK,
    tasks=replace(QUICK.tasks, lifetime=(25, 400)),
    optimizer=ArchitectureConfig(kind="celo_adam"),
    meta_loss=MetaLossConfig(truncation=25, reduce="final", data="held_out"),
    method="noise_reuse",
    pairs=replace(QUICK.pairs, num_parallel=64),
    outer=replace(QUICK.outer, generations=600),
    evaluation=replace(QUICK.evaluation, trial=replace(QUICK.evaluation.trial, steps=100, tasks=8)),
    loop=LoopConfig(log_every=10, checkpoint_every=100),
)

# The same, which believes that all are of the typical length.
SCHEDULE_UNTOLD = replace(SCHEDULE, optimizer=replace(SCHEDULE.optimizer, assumed_steps=100))

# Four data sets of 8x8 images, in units that the optimizer has to find out: a few hours of a GPU.
EIGHT = "&width=32&rescale=global"
FOUR = (
    f"mlp/mnist?size=8{EIGHT}",
    f"mlp/fashion_mnist?size=8{EIGHT}",
    f"mlp/cifar10?size=8&gray=true{EIGHT}",
    f"mlp/digits?size=8{EIGHT}",
)
MLP_8X8 = TrainOptimizerConfig(
    tasks=TrainingTasksConfig(families=FOUR, lifetime=(100, 2000)),
    optimizer=ArchitectureConfig(kind="adafac_mlp_lopt"),
    meta_loss=MetaLossConfig(truncation=50),
    pairs=AntitheticTruncatedESConfig(num_parallel=64, pairs=1, sigma=0.01),
    outer=OuterConfig(
        generations=20_000, learning_rate=3e-4, warm_up=100, cosine_to=0.1, max_grad_norm=1.0
    ),
    evaluation=OptimizerEvaluationConfig(
        families=(
            "mlp/fashion_mnist?size=8&width=32",
            "mlp/fashion_mnist?size=8&width=128",
            "mlp/fashion_mnist?size=8&width=32&depth=3",
            "mlp/mnist1d?width=32",
            "conv/digits",
        ),
        horizons=(5.0,),
        trial=TrialConfig(steps=2000, tasks=16),
    ),
    loop=LoopConfig(log_every=50, checkpoint_every=500),
)

# The size of "small_fc_lopt" and of Celo's recipe: 32 hidden units, 100k outer steps.
PAPER = replace(
    MLP_8X8,
    optimizer=ArchitectureConfig(adafac_mlp_lopt=AdafacMLPLoptConfig(hidden=32)),
    outer=replace(MLP_8X8.outer, generations=100_000, learning_rate=1e-4),
    loop=LoopConfig(log_every=100, checkpoint_every=2000),
)

PRESETS = {
    "quick": QUICK,
    "truncated": TRUNCATED,
    "mulo": MULO,
    "sp": SP,
    "schedule": SCHEDULE,
    "schedule-untold": SCHEDULE_UNTOLD,
    "mlp-8x8": MLP_8X8,
    "paper": PAPER,
}
DEFAULT = "quick"
