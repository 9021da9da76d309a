"""`adafac_mlp_lopt`: an MLP whose inputs include factored second moments, as in Adafactor.

Metz et al. 2022, arXiv:2203.11860 ("small_fc_lopt"). With the config `MULO` it is the optimizer of
muLO (Therien et al. 2024, arXiv:2406.00153), whose updates `metarl.optimizers.mup` multiplies.
"""

from dataclasses import dataclass

import jax.numpy as jnp
import optax

from metarl.core.types import Array, Key, Theta
from metarl.kernels.lopt_update import FeatureSet, Rates, features
from metarl.optimizers.lopt.timed_mlp import TimedMLPConfig, timed_mlp, timed_mlp_init
from metarl.optimizers.protocol import InnerOptimizer, Steps, without_parameter_info

MOMENTA = (0.9, 0.99, 0.999)
"""Decays of the momenta, before learned offsets."""

RMS = (0.999,)
"""Decay of the mean square."""

FACTORED = (0.9, 0.99, 0.999)
"""Decays of the mean squares over rows and columns."""

FEATURES = FeatureSet(
    (
        features.gradient,
        features.parameter,
        features.momenta,
        features.rms,
        features.scaled_momenta,
        features.inverse_rms,
        features.factored_gradient,
        features.rows,
        features.columns,
        features.inverse_rows,
        features.inverse_columns,
        features.factored_momenta,
    )
)
"""28 channels, followed by 11 time features."""


@dataclass(frozen=True)
class AdafacMLPLoptConfig(TimedMLPConfig):
    """Architecture, see `TimedMLPConfig`; the defaults are those of the paper's code."""

    hidden: int = 4


MULO = AdafacMLPLoptConfig(hidden=32, step_mult=1e-2)
"""Architecture of muLO's published weights."""


def adafac_mlp_lopt_init(config: AdafacMLPLoptConfig, key: Key) -> Theta:
    """Draws theta.

    Returns:
      `network`: `layer_i` with `kernel [in, out]` and `bias [out]`, 39 inputs and 2 outputs.
      `decays`: offsets of `momenta [3]`, `rms [1]` and `factored [3]`, zero; see `learned_rates`.
    """
    offsets = {"momenta": len(MOMENTA), "rms": len(RMS), "factored": len(FACTORED)}
    decays = {name: jnp.zeros(count) for name, count in offsets.items()}
    return {"network": timed_mlp_init(FEATURES, config, key), "decays": decays}


def learned_rates(offsets: Theta) -> Rates:
    """Returns rates `(1 - d) exp(10 x)`, clipped to [0, 1], for decays d and learned offsets x.

    The published code does not clip the rates of momenta: x above 0.23 makes a momentum of decay
    0.9 diverge with alternating signs.
    """

    def shifted_rates(decays: tuple[float, ...], x: Array) -> Array:
        rates = jnp.asarray([1.0 - decay for decay in decays], jnp.float32)
        return jnp.clip(rates * jnp.exp(10.0 * jnp.asarray(x)), 0.0, 1.0)

    return Rates(
        shifted_rates(MOMENTA, offsets["momenta"]),
        shifted_rates(RMS, offsets["rms"]),
        shifted_rates(FACTORED, offsets["factored"]),
    )


def adafac_mlp_lopt(
    theta: Theta,
    config: AdafacMLPLoptConfig | None = None,
    num_steps: Steps | None = None,
    implementation: str | None = None,
) -> optax.GradientTransformationExtraArgs:
    """Returns the transformation of `timed_mlp` with the 28 channels of `FEATURES`.

    Args:
      theta: weights, see `adafac_mlp_lopt_init`.
      config: architecture; None = the paper's.
      num_steps: unused.
      implementation: kernel implementation; None = the best available one.

    Raises:
      ConfigError: in `init` and `update`, see `metarl.optimizers.lopt.accumulators`.
    """
    del num_steps
    config = AdafacMLPLoptConfig() if config is None else config
    rates = learned_rates(theta["decays"])
    return timed_mlp(FEATURES, theta["network"], rates, config, implementation)


def adafac_mlp_lopt_inner(config: AdafacMLPLoptConfig | None = None) -> InnerOptimizer:
    """Returns the `InnerOptimizer` for meta-training."""
    config = AdafacMLPLoptConfig() if config is None else config
    name = f"adafac_mlp_lopt_{config.hidden}"
    return without_parameter_info(name, config, adafac_mlp_lopt_init, adafac_mlp_lopt)
