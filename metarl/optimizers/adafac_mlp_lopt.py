"""A learned optimizer that also sees factored second moments, as Adafactor keeps them.

Metz et al. 2022, arXiv:2203.11860 ("small_fc_lopt"); as `MULO` it is the optimizer of muLO (Therien
et al. 2024, arXiv:2406.00153), which multiplies its updates by what `metarl.optimizers.mup` says.
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import optax

from metarl.core.errors import check_positive
from metarl.core.types import Array, Key, PyTree, Theta
from metarl.kernels.lopt_update import FeatureSet, Rates, features
from metarl.optimizers.accumulators import init_accumulators
from metarl.optimizers.parameters import ParameterInfo
from metarl.optimizers.per_parameter import (
    TIMESCALES,
    PerParameterState,
    TensorNetwork,
    fold_constants,
    init_layers,
    time_features,
    update_tree,
)
from metarl.optimizers.protocol import InnerOptimizer, Steps

MOMENTA = (0.9, 0.99, 0.999)
"""Rates of the momenta, before what was learned moves them."""

RMS = (0.999,)
"""Decay of the mean square."""

FACTORED = (0.9, 0.99, 0.999)
"""Rates of the mean squares over rows and columns."""

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
"""28 channels; 11 of time follow."""

CHANNELS = 28
"""Count of `FEATURES`."""


@dataclass(frozen=True)
class AdafacMLPLoptConfig:
    """Architecture; the defaults are those of the paper's code.

    Attributes:
      hidden: width of the hidden layers.
      depth: number of hidden layers.
      step_mult: scale of the steps.
      exp_mult: scale of the network's second output inside the exponential.
    """

    hidden: int = 4
    depth: int = 2
    step_mult: float = 1e-3
    exp_mult: float = 1e-3

    def __post_init__(self) -> None:
        check_positive(
            hidden=self.hidden,
            depth=self.depth,
            step_mult=self.step_mult,
            exp_mult=self.exp_mult,
        )


MULO = AdafacMLPLoptConfig(hidden=32, step_mult=1e-2)
"""The architecture of muLO's released weights."""


def adafac_mlp_lopt_init(config: AdafacMLPLoptConfig, key: Key) -> Theta:
    """Draws theta.

    Returns:
      `network`: `layer_i` with `kernel [in, out]` and `bias [out]`, 39 inputs and 2 outputs.
      `decays`: offsets of `momenta [3]`, `rms [1]` and `factored [3]`, zero; see `learned_rates`.
    """
    sizes = (CHANNELS + len(TIMESCALES), *[config.hidden] * config.depth, 2)
    offsets = {"momenta": len(MOMENTA), "rms": len(RMS), "factored": len(FACTORED)}
    decays = {name: jnp.zeros(count) for name, count in offsets.items()}
    return {"network": init_layers(key, sizes), "decays": decays}


def learned_rates(offsets: Theta) -> Rates:
    """Moves the decays d by offsets x: one minus `1 - (1 - d) exp(10 x)`, clipped to [0, 1].

    The published code leaves momenta's unclipped, where x above 0.23 makes a momentum of 0.9 grow
    without bound in alternating signs.
    """

    def moved(decays: tuple[float, ...], x: Array) -> Array:
        rates = jnp.asarray([1.0 - decay for decay in decays], jnp.float32)
        return jnp.clip(rates * jnp.exp(10.0 * jnp.asarray(x)), 0.0, 1.0)

    return Rates(
        moved(MOMENTA, offsets["momenta"]),
        moved(RMS, offsets["rms"]),
        moved(FACTORED, offsets["factored"]),
    )


def adafac_mlp_lopt(
    theta: Theta,
    config: AdafacMLPLoptConfig | None = None,
    num_steps: Steps | None = None,
    implementation: str | None = None,
) -> optax.GradientTransformationExtraArgs:
    """Makes the transformation `g -> -step_mult o_0 exp(exp_mult o_1)`.

    `o` are the outputs of the network. Its inputs are 28 channels (`FEATURES`), each divided by its
    root mean square over the tensor, and `tanh(t / T - 1)` for 11 timescales T; they stand still
    long before the largest count of updates. `update` needs `params`.

    Args:
      theta: weights, see `adafac_mlp_lopt_init`.
      config: architecture; None = the paper's.
      num_steps: not used; any number of updates can be made.
      implementation: of the kernel; None = the best that can run.

    Raises:
      ConfigError: in `init` and `update`, see `metarl.optimizers.accumulators`.
    """
    del num_steps
    config = AdafacMLPLoptConfig() if config is None else config

    def init(params: PyTree) -> PerParameterState:
        return PerParameterState(jnp.zeros((), jnp.int32), init_accumulators(params, FEATURES))

    def update(
        updates: PyTree, state: PerParameterState, params: PyTree | None = None, **unused: object
    ) -> tuple[PyTree, PerParameterState]:
        del unused
        layers = fold_constants(theta["network"], time_features(state.iteration))
        networks = [TensorNetwork(layers, config.step_mult)] * len(jax.tree.leaves(updates))
        updates, moments = update_tree(
            FEATURES,
            networks,
            updates,
            params,
            state.moments,
            learned_rates(theta["decays"]),
            config.exp_mult,
            implementation,
        )
        return updates, PerParameterState(optax.safe_increment(state.iteration), moments)

    return optax.GradientTransformationExtraArgs(init, update)


def adafac_mlp_lopt_inner(config: AdafacMLPLoptConfig | None = None) -> InnerOptimizer:
    """Makes the optimizer for a learner, to be meta-trained."""
    config = AdafacMLPLoptConfig() if config is None else config

    def transformation(
        theta: Theta, info: tuple[ParameterInfo, ...], num_steps: Steps
    ) -> optax.GradientTransformationExtraArgs:
        del info
        return adafac_mlp_lopt(theta, config, num_steps)

    return InnerOptimizer(
        f"adafac_mlp_lopt_{config.hidden}",
        lambda key: adafac_mlp_lopt_init(config, key),
        transformation,
    )
