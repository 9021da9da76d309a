"""Shared parts of learned optimizers whose MLP takes channels of a parameter and time features."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import optax

from metarl.core.errors import check_positive
from metarl.core.types import Key, PyTree, Theta
from metarl.kernels.lopt_update import FeatureSet, Rates
from metarl.optimizers.in_place import TransformationWithApply, with_apply
from metarl.optimizers.lopt.accumulators import init_accumulators
from metarl.optimizers.lopt.per_parameter import (
    TIMESCALES,
    PerParameterState,
    TensorNetwork,
    fold_constants,
    init_layers,
    time_features,
    update_tree,
)


@dataclass(frozen=True)
class TimedMLPConfig:
    """Architecture of the network.

    Attributes:
      hidden: width of the hidden layers.
      depth: number of hidden layers.
      step_mult: factor of the steps.
      exp_mult: factor of the network's second output inside the exponential.
    """

    hidden: int
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


def timed_mlp_init(features: FeatureSet, config: TimedMLPConfig, key: Key) -> Theta:
    """Draws the MLP: inputs are the channels and 11 time features, outputs direction, magnitude."""
    sizes = (features.count + len(TIMESCALES), *[config.hidden] * config.depth, 2)
    return init_layers(key, sizes)


def timed_mlp(
    features: FeatureSet,
    network: Theta,
    rates: Rates,
    config: TimedMLPConfig,
    implementation: str | None,
) -> TransformationWithApply:
    """Returns the transformation `g -> -step_mult o_0 exp(exp_mult o_1)`.

    `o` are the outputs of the network. Its inputs are the channels, each divided by its root mean
    square over the tensor, and `tanh(t / T - 1)` for 11 timescales T, which saturate long before
    the iteration counter. `update` requires `params`.

    Args:
      features: channels.
      network: weights from `timed_mlp_init`.
      rates: rates of the running averages.
      config: architecture.
      implementation: kernel implementation; None = the best available one.

    Raises:
      ConfigError: in `init` and `update`, see `metarl.optimizers.lopt.accumulators`.
    """

    def init(params: PyTree) -> PerParameterState:
        return PerParameterState(jnp.zeros((), jnp.int32), init_accumulators(params, features))

    def make(
        in_place: bool,
        grads: PyTree,
        state: PerParameterState,
        params: PyTree | None,
        **unused: object,
    ) -> tuple[PyTree, PerParameterState]:
        del unused
        layers = fold_constants(network, time_features(state.iteration))
        networks = [TensorNetwork(layers, config.step_mult)] * len(jax.tree.leaves(grads))
        made, moments = update_tree(
            features,
            networks,
            grads,
            params,
            state.moments,
            rates,
            config.exp_mult,
            implementation,
            in_place=in_place,
        )
        return made, PerParameterState(optax.safe_increment(state.iteration), moments)

    return with_apply(init, make)
