"""`mlp_lopt`: an MLP of each parameter, its gradient, its momenta, and time features.

Metz et al. 2018, arXiv:1810.10180, in its later form (Metz et al. 2022, arXiv:2203.11860).
"""

from dataclasses import dataclass

import jax.numpy as jnp
import optax

from metarl.core.types import Key, Theta
from metarl.kernels.lopt_update import FeatureSet, Rates, features
from metarl.optimizers.lopt.timed_mlp import TimedMLPConfig, timed_mlp, timed_mlp_init
from metarl.optimizers.protocol import InnerOptimizer, Steps, without_parameter_info

MOMENTA = (0.1, 0.5, 0.9, 0.99, 0.999, 0.9999)
"""Decays of the momenta."""

FEATURES = FeatureSet(
    (features.gradient, features.parameter, features.momenta),
    momenta=len(MOMENTA),
    rms=0,
    factored=0,
)
"""Gradient, parameter, momenta: 8 channels, followed by 11 time features."""


@dataclass(frozen=True)
class MLPLoptConfig(TimedMLPConfig):
    """Architecture, see `TimedMLPConfig`; the defaults are published."""

    hidden: int = 32


def mlp_lopt_init(config: MLPLoptConfig, key: Key) -> Theta:
    """Draws theta: `layer_i` with `kernel [in, out]` and `bias [out]`, 19 inputs, 2 outputs."""
    return timed_mlp_init(FEATURES, config, key)


def mlp_lopt(
    theta: Theta,
    config: MLPLoptConfig | None = None,
    num_steps: Steps | None = None,
    implementation: str | None = None,
) -> optax.GradientTransformationExtraArgs:
    """Returns the transformation of `timed_mlp` with the 8 channels of `FEATURES`.

    Args:
      theta: weights, see `mlp_lopt_init`.
      config: architecture; None = the published one.
      num_steps: unused.
      implementation: kernel implementation; None = the best available one.

    Raises:
      ConfigError: in `init` and `update`, see `metarl.optimizers.lopt.accumulators`.
    """
    del num_steps
    config = MLPLoptConfig() if config is None else config
    empty = jnp.zeros(0)
    rates = Rates(jnp.asarray([1.0 - d for d in MOMENTA], jnp.float32), empty, empty)
    return timed_mlp(FEATURES, theta, rates, config, implementation)


def mlp_lopt_inner(config: MLPLoptConfig | None = None) -> InnerOptimizer:
    """Returns the `InnerOptimizer` for meta-training."""
    config = MLPLoptConfig() if config is None else config
    return without_parameter_info("mlp_lopt", config, mlp_lopt_init, mlp_lopt)
