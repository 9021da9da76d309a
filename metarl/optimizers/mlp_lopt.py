"""The plainest learned optimizer: an MLP sees each parameter, its gradient, momenta, and the time.

Metz et al. 2018, arXiv:1810.10180, in its later form (Metz et al. 2022, arXiv:2203.11860).
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import optax

from metarl.core.errors import check_positive
from metarl.core.types import Key, PyTree, Theta
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

MOMENTA = (0.1, 0.5, 0.9, 0.99, 0.999, 0.9999)
"""Rates of the momenta."""

FEATURES = FeatureSet(
    (features.gradient, features.parameter, features.momenta),
    momenta=len(MOMENTA),
    rms=0,
    factored=0,
)
"""Gradient, parameter, momenta: 8 channels; 11 of time follow."""


@dataclass(frozen=True)
class MLPLoptConfig:
    """Architecture; the defaults are published.

    Attributes:
      hidden: width of the hidden layers.
      depth: number of hidden layers.
      step_mult: scale of the steps.
      exp_mult: scale of the network's second output inside the exponential.
    """

    hidden: int = 32
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


def mlp_lopt_init(config: MLPLoptConfig, key: Key) -> Theta:
    """Draws theta: `layer_i` with `kernel [in, out]` and `bias [out]`, 19 inputs, 2 outputs."""
    inputs = 2 + len(MOMENTA) + len(TIMESCALES)
    return init_layers(key, (inputs, *[config.hidden] * config.depth, 2))


def mlp_lopt(
    theta: Theta,
    config: MLPLoptConfig | None = None,
    num_steps: Steps | None = None,
    implementation: str | None = None,
) -> optax.GradientTransformationExtraArgs:
    """Makes the transformation `g -> -step_mult o_0 exp(exp_mult o_1)`.

    `o` are the outputs of the network. Its inputs are gradient, parameter and momenta, each divided
    by its root mean square over the tensor, and `tanh(t / T - 1)` for 11 timescales T; they stand
    still long before the largest count of updates. `update` needs `params`.

    Args:
      theta: weights, see `mlp_lopt_init`.
      config: architecture; None = the published one.
      num_steps: not used; any number of updates can be made.
      implementation: of the kernel; None = the best that can run.

    Raises:
      ConfigError: in `init` and `update`, see `metarl.optimizers.accumulators`.
    """
    del num_steps
    config = MLPLoptConfig() if config is None else config

    def init(params: PyTree) -> PerParameterState:
        return PerParameterState(jnp.zeros((), jnp.int32), init_accumulators(params, FEATURES))

    def update(
        updates: PyTree, state: PerParameterState, params: PyTree | None = None, **unused: object
    ) -> tuple[PyTree, PerParameterState]:
        del unused
        layers = fold_constants(theta, time_features(state.iteration))
        network = TensorNetwork(layers, config.step_mult)
        empty = jnp.zeros(0)
        rates = Rates(jnp.asarray([1.0 - d for d in MOMENTA], jnp.float32), empty, empty)
        networks = [network] * len(jax.tree.leaves(updates))
        updates, moments = update_tree(
            FEATURES,
            networks,
            updates,
            params,
            state.moments,
            rates,
            config.exp_mult,
            implementation,
        )
        return updates, PerParameterState(optax.safe_increment(state.iteration), moments)

    return optax.GradientTransformationExtraArgs(init, update)


def mlp_lopt_inner(config: MLPLoptConfig | None = None) -> InnerOptimizer:
    """Makes the optimizer for a learner, to be meta-trained."""
    config = MLPLoptConfig() if config is None else config

    def transformation(
        theta: Theta, info: tuple[ParameterInfo, ...], num_steps: Steps
    ) -> optax.GradientTransformationExtraArgs:
        del info
        return mlp_lopt(theta, config, num_steps)

    return InnerOptimizer("mlp_lopt", lambda key: mlp_lopt_init(config, key), transformation)
