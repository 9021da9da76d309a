"""L1: estimators of the meta-gradient, independent of reinforcement learning and networks."""

from metarl.estimators.antithetic import AntitheticTruncatedESConfig
from metarl.estimators.full_es import FullES, FullESConfig
from metarl.estimators.mean_estimator import MeanEstimator
from metarl.estimators.noise_reuse_es import NoiseReuseES
from metarl.estimators.pes import PES
from metarl.estimators.truncated_backprop import TruncatedBackprop, TruncatedBackpropConfig
from metarl.estimators.truncated_es import TruncatedES

__all__ = [
    "PES",
    "AntitheticTruncatedESConfig",
    "FullES",
    "FullESConfig",
    "MeanEstimator",
    "NoiseReuseES",
    "TruncatedBackprop",
    "TruncatedBackpropConfig",
    "TruncatedES",
]
