"""Which learned optimizer a run meta-trains."""

from dataclasses import dataclass, field
from typing import Any, Literal

from metarl.core.errors import check_choice, check_positive
from metarl.optimizers import ARCHITECTURES, InnerOptimizer, mup
from metarl.optimizers.celo.celo import CeloConfig
from metarl.optimizers.celo.celo2 import Celo2Config
from metarl.optimizers.celo.celo_adam import CeloAdamConfig
from metarl.optimizers.learnable import (
    LearnableAdamConfig,
    LearnableMomentumConfig,
    LearnableSGDConfig,
)
from metarl.optimizers.lopt.adafac_mlp_lopt import AdafacMLPLoptConfig
from metarl.optimizers.lopt.mlp_lopt import MLPLoptConfig
from metarl.optimizers.protocol import with_horizon
from metarl.optimizers.rnn_mlp.rnn_mlp_network import RNNMLPConfig
from metarl.optimizers.velo.velo_network import VeLOConfig

Kind = Literal[
    "learnable_sgd",
    "learnable_momentum",
    "learnable_adam",
    "mlp_lopt",
    "adafac_mlp_lopt",
    "rnn_mlp_lopt",
    "velo",
    "celo_adam",
    "celo",
    "celo2",
]


@dataclass(frozen=True)
class ArchitectureConfig:
    """What is learned.

    Attributes:
      kind: which of the architectures below; the settings of the others have no meaning.
      mup: whether updates are multiplied as maximal-update parametrisation asks, by what families
        such as `mu_mlp/digits` say of each tensor.
      assumed_steps: fixed number of updates it is conditioned on, as an ablation; None = the true
        number.
      learnable_sgd, learnable_momentum, learnable_adam: hyper-parameters.
      mlp_lopt: a network for every parameter.
      adafac_mlp_lopt: one that sees factored moments too.
      rnn_mlp_lopt: one with a recurrent network for every tensor.
      velo: one whose weights a recurrent network for every tensor makes.
      celo_adam: Adam with a learned schedule.
      celo: a network for every parameter with a learned schedule.
      celo2: a learned direction.
    """

    kind: Kind = "adafac_mlp_lopt"
    mup: bool = False
    assumed_steps: int | None = None
    learnable_sgd: LearnableSGDConfig = field(default_factory=LearnableSGDConfig)
    learnable_momentum: LearnableMomentumConfig = field(default_factory=LearnableMomentumConfig)
    learnable_adam: LearnableAdamConfig = field(default_factory=LearnableAdamConfig)
    mlp_lopt: MLPLoptConfig = field(default_factory=MLPLoptConfig)
    adafac_mlp_lopt: AdafacMLPLoptConfig = field(default_factory=AdafacMLPLoptConfig)
    rnn_mlp_lopt: RNNMLPConfig = field(default_factory=RNNMLPConfig)
    velo: VeLOConfig = field(default_factory=VeLOConfig)
    celo_adam: CeloAdamConfig = field(default_factory=CeloAdamConfig)
    celo: CeloConfig = field(default_factory=CeloConfig)
    celo2: Celo2Config = field(default_factory=Celo2Config)

    def __post_init__(self) -> None:
        check_choice("optimizer.kind", self.kind, ARCHITECTURES)
        check_positive(assumed_steps=self.assumed_steps)

    @property
    def chosen(self) -> Any:
        """The settings of the architecture that was chosen."""
        return getattr(self, self.kind)


def inner_optimizer(config: ArchitectureConfig) -> InnerOptimizer:
    """Makes the optimizer that a config describes."""
    made = ARCHITECTURES[config.kind].inner(config.chosen)
    optimizer = with_horizon(made, config.assumed_steps)
    return mup(optimizer) if config.mup else optimizer
