"""Registry of architectures of learned optimizers."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import optax

from metarl.core.errors import ConfigError
from metarl.core.types import Key, Theta
from metarl.optimizers import learnable
from metarl.optimizers.celo.celo import CeloConfig, celo, celo_init, celo_inner
from metarl.optimizers.celo.celo2 import Celo2Config, celo2, celo2_init, celo2_inner
from metarl.optimizers.celo.celo_adam import (
    CeloAdamConfig,
    celo_adam,
    celo_adam_init,
    celo_adam_inner,
)
from metarl.optimizers.lopt.adafac_mlp_lopt import (
    AdafacMLPLoptConfig,
    adafac_mlp_lopt,
    adafac_mlp_lopt_init,
    adafac_mlp_lopt_inner,
)
from metarl.optimizers.lopt.mlp_lopt import MLPLoptConfig, mlp_lopt, mlp_lopt_init, mlp_lopt_inner
from metarl.optimizers.protocol import InnerOptimizer
from metarl.optimizers.rnn_mlp.rnn_mlp_lopt import rnn_mlp_lopt, rnn_mlp_lopt_inner
from metarl.optimizers.rnn_mlp.rnn_mlp_network import RNNMLPConfig, rnn_mlp_init
from metarl.optimizers.velo.velo import velo, velo_inner
from metarl.optimizers.velo.velo_network import VeLOConfig, velo_init


@dataclass(frozen=True)
class Architecture:
    """Config class and constructors of an architecture.

    Attributes:
      config: config class; all its fields have defaults.
      init: function `(config, key) -> theta`, nested dictionaries of arrays.
      make: function `(theta, config, num_steps, **settings) -> optax transformation`.
      inner: function `config -> InnerOptimizer`.
    """

    config: type[Any]
    init: Callable[[Any, Key], Theta]
    make: Callable[..., optax.GradientTransformationExtraArgs]
    inner: Callable[..., InnerOptimizer]


ARCHITECTURES: Mapping[str, Architecture] = MappingProxyType(
    {
        "adafac_mlp_lopt": Architecture(
            AdafacMLPLoptConfig, adafac_mlp_lopt_init, adafac_mlp_lopt, adafac_mlp_lopt_inner
        ),
        "celo": Architecture(CeloConfig, celo_init, celo, celo_inner),
        "celo2": Architecture(Celo2Config, celo2_init, celo2, celo2_inner),
        "celo_adam": Architecture(CeloAdamConfig, celo_adam_init, celo_adam, celo_adam_inner),
        "learnable_adam": Architecture(
            learnable.LearnableAdamConfig,
            learnable.learnable_adam_init,
            learnable.learnable_adam,
            learnable.learnable_adam_inner,
        ),
        "learnable_momentum": Architecture(
            learnable.LearnableMomentumConfig,
            learnable.learnable_momentum_init,
            learnable.learnable_momentum,
            learnable.learnable_momentum_inner,
        ),
        "learnable_sgd": Architecture(
            learnable.LearnableSGDConfig,
            learnable.learnable_sgd_init,
            learnable.learnable_sgd,
            learnable.learnable_sgd_inner,
        ),
        "mlp_lopt": Architecture(MLPLoptConfig, mlp_lopt_init, mlp_lopt, mlp_lopt_inner),
        "rnn_mlp_lopt": Architecture(RNNMLPConfig, rnn_mlp_init, rnn_mlp_lopt, rnn_mlp_lopt_inner),
        "velo": Architecture(VeLOConfig, velo_init, velo, velo_inner),
    }
)
"""Architectures by name; artifact cards store these names."""


def architecture_of(config: Any) -> str:
    """Returns the name of the architecture of a config.

    Raises:
      ConfigError: the class of the config is unknown.
    """
    for name, architecture in ARCHITECTURES.items():
        if type(config) is architecture.config:
            return name
    known = ", ".join(architecture.config.__name__ for architecture in ARCHITECTURES.values())
    raise ConfigError(f"{config!r} is no config of a learned optimizer; permitted: {known}.")
