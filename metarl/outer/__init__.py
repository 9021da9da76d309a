"""L1: outer optimizers of theta: optax transformations and evosax strategies."""

from metarl.outer.averaging import AveragedMetaOptimizer
from metarl.outer.evosax import EvosaxMetaOptimizer
from metarl.outer.gradient import GradientMetaOptimizer
from metarl.outer.protocol import MetaLog, MetaOptimizer

__all__ = [
    "AveragedMetaOptimizer",
    "EvosaxMetaOptimizer",
    "GradientMetaOptimizer",
    "MetaLog",
    "MetaOptimizer",
]
