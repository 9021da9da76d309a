"""L2: inner optimizers, learned or handcrafted, as optax transformations."""

from metarl.optimizers.architectures import ARCHITECTURES, Architecture
from metarl.optimizers.artifacts import LoadedOptimizer, inner, load, names, read, save
from metarl.optimizers.celo.celo import CeloConfig, celo, celo_init, celo_inner
from metarl.optimizers.celo.celo2 import Celo2Config, celo2, celo2_init, celo2_inner, scale_by_celo2
from metarl.optimizers.celo.celo_adam import (
    CeloAdamConfig,
    celo_adam,
    celo_adam_init,
    celo_adam_inner,
)
from metarl.optimizers.in_place import TransformationWithApply, in_place
from metarl.optimizers.learnable import (
    LearnableAdamConfig,
    LearnableMomentumConfig,
    LearnableSGDConfig,
    learnable_adam,
    learnable_adam_init,
    learnable_adam_inner,
    learnable_momentum,
    learnable_momentum_init,
    learnable_momentum_inner,
    learnable_sgd,
    learnable_sgd_init,
    learnable_sgd_inner,
)
from metarl.optimizers.lopt.adafac_mlp_lopt import (
    MULO,
    AdafacMLPLoptConfig,
    adafac_mlp_lopt,
    adafac_mlp_lopt_init,
    adafac_mlp_lopt_inner,
)
from metarl.optimizers.lopt.mlp_lopt import MLPLoptConfig, mlp_lopt, mlp_lopt_init, mlp_lopt_inner
from metarl.optimizers.mup import fan_in_multipliers, mup, scale_by_multipliers
from metarl.optimizers.open.open import open_inner_optimizer, open_optimizer
from metarl.optimizers.open.open_network import OpenNetworkConfig
from metarl.optimizers.open.open_weights import by_path, load_open
from metarl.optimizers.parameters import ParameterInfo, describe
from metarl.optimizers.protocol import InnerOptimizer, UpdateContext, fixed, from_optax
from metarl.optimizers.rnn_mlp.rnn_mlp_lopt import rnn_mlp_lopt, rnn_mlp_lopt_inner
from metarl.optimizers.rnn_mlp.rnn_mlp_network import RNNMLPConfig, rnn_mlp_init
from metarl.optimizers.velo.velo import velo, velo_inner
from metarl.optimizers.velo.velo_network import VeLOConfig, velo_init

__all__ = [
    "ARCHITECTURES",
    "MULO",
    "AdafacMLPLoptConfig",
    "Architecture",
    "Celo2Config",
    "CeloAdamConfig",
    "CeloConfig",
    "InnerOptimizer",
    "LearnableAdamConfig",
    "LearnableMomentumConfig",
    "LearnableSGDConfig",
    "LoadedOptimizer",
    "MLPLoptConfig",
    "OpenNetworkConfig",
    "ParameterInfo",
    "RNNMLPConfig",
    "TransformationWithApply",
    "UpdateContext",
    "VeLOConfig",
    "adafac_mlp_lopt",
    "adafac_mlp_lopt_init",
    "adafac_mlp_lopt_inner",
    "by_path",
    "celo",
    "celo2",
    "celo2_init",
    "celo2_inner",
    "celo_adam",
    "celo_adam_init",
    "celo_adam_inner",
    "celo_init",
    "celo_inner",
    "describe",
    "fan_in_multipliers",
    "fixed",
    "from_optax",
    "in_place",
    "inner",
    "learnable_adam",
    "learnable_adam_init",
    "learnable_adam_inner",
    "learnable_momentum",
    "learnable_momentum_init",
    "learnable_momentum_inner",
    "learnable_sgd",
    "learnable_sgd_init",
    "learnable_sgd_inner",
    "load",
    "load_open",
    "mlp_lopt",
    "mlp_lopt_init",
    "mlp_lopt_inner",
    "mup",
    "names",
    "open_inner_optimizer",
    "open_optimizer",
    "read",
    "rnn_mlp_init",
    "rnn_mlp_lopt",
    "rnn_mlp_lopt_inner",
    "save",
    "scale_by_celo2",
    "scale_by_multipliers",
    "velo",
    "velo_init",
    "velo_inner",
]
