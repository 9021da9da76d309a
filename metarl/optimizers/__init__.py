"""L2: optimizers of an inner learner, learned or written down."""

from metarl.optimizers.library import by_path, load
from metarl.optimizers.open import open_inner_optimizer, open_optimizer
from metarl.optimizers.open_network import OpenNetworkConfig
from metarl.optimizers.parameters import ParameterInfo, describe
from metarl.optimizers.protocol import InnerOptimizer, UpdateContext, fixed, from_optax

__all__ = [
    "InnerOptimizer",
    "OpenNetworkConfig",
    "ParameterInfo",
    "UpdateContext",
    "by_path",
    "describe",
    "fixed",
    "from_optax",
    "load",
    "open_inner_optimizer",
    "open_optimizer",
]
