"""VeLO's per-tensor network: input features, and generation of per-parameter networks.

Its input is one row per tensor. Its outputs are the weights of the tensor's per-parameter network,
a mixture of K networks, and a factor of its steps.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import jax
import jax.numpy as jnp

from metarl.core.errors import check_positive
from metarl.core.keys import split_named
from metarl.core.types import Array, Key, Theta
from metarl.kernels.lopt_update import FeatureSet, Moments, Rates, features
from metarl.optimizers.lopt import loss_features
from metarl.optimizers.lopt.per_parameter import TensorNetwork, init_layers
from metarl.optimizers.velo.tensor_lstm import (
    PROGRESS_POINTS,
    LSTMState,
    linear,
    linear_init,
    lstm,
    mix_tensors,
    mixed_lstm_init,
)

VELO_FEATURES = FeatureSet(
    channels=(
        features.gradient,
        features.clipped_gradient,
        features.parameter,
        features.momenta,
        features.rms,
        features.scaled_momenta,
        features.inverse_rms,
        features.factored_gradient,
        features.scaled_gradient,
        features.rows,
        features.columns,
        features.inverse_rows,
        features.inverse_columns,
        features.factored_momenta,
    ),
    gradient_limit=1000.0,
    vector_momentum_eps=0.0,
)
"""30 channels of VeLO and Celo, without an epsilon for scaled momenta at rank 0 and 1."""

CHANNELS = 30
"""Number of channels."""

OUTPUTS = 3
"""Outputs of the per-parameter network: direction, magnitude, and an unused one."""

STEP_SCALE = 1e-3
"""Factor of every step."""

EXPONENT = 1e-3
"""Factor of the magnitude inside the exponential."""

RANKS = 5
"""Size of the one-hot encoding of the number of axes longer than 1; zeros if there are more."""

NO_NETWORK = TensorNetwork((), 0.0)
"""Network of a tensor without elements."""

_MOMENTA = 3
_TINY = 1e-9


@dataclass(frozen=True)
class VeLOConfig:
    """Architecture of VeLO; the defaults are the published ones for meta-training.

    The published weights have `hidden=512, networks=256`.

    Attributes:
      hidden: number of units H of the LSTM.
      networks: number of mixed per-parameter networks K.
      width: width of their two hidden layers.
      mixture_scale: factor of mixed weights; 100 as published. Celo's authors found 1 more stable
        for meta-training with persistent evolution strategies.
      bugged_loss_features: whether all ten loss averages have a horizon of 10 steps. The published
        weights were trained without it, some older ones with it.
      bugged_lstm_state: whether the LSTM state stays at its initial value, as old weights need.
      validation: additional input, True = optimize the validation loss, False = the training loss;
        None = no such input.
    """

    hidden: int = 128
    networks: int = 64
    width: int = 4
    mixture_scale: float = 100.0
    bugged_loss_features: bool = False
    bugged_lstm_state: bool = False
    validation: bool | None = None

    def __post_init__(self) -> None:
        check_positive(
            hidden=self.hidden,
            networks=self.networks,
            width=self.width,
            mixture_scale=self.mixture_scale,
        )

    @property
    def inputs(self) -> int:
        """Length F of a tensor's row: progress, loss, root mean square, rank, variances, flag."""
        size = len(PROGRESS_POINTS) + loss_features.FEATURES + 1 + RANKS + 2 * _MOMENTA
        return size + (self.validation is not None)


def velo_init(config: VeLOConfig, key: Key) -> Theta:
    """Draws the meta-parameters.

    Returns:
      `tensors`, see `metarl.optimizers.velo.tensor_lstm.mixed_lstm_init`; its output layers
      `controls [H, K]` and `step_size [H, 1]`; and `networks`, per-parameter MLPs with a leading
      axis K.
    """
    names = ("tensors", "controls", "step_size", "networks")
    tensors, controls, step_size, networks = split_named(key, *names)
    sizes = (CHANNELS, config.width, config.width, OUTPUTS)
    return {
        "tensors": mixed_lstm_init(tensors, config.inputs, config.hidden),
        "controls": linear_init(controls, config.hidden, config.networks),
        "step_size": linear_init(step_size, config.hidden, 1),
        "networks": jax.vmap(lambda k: init_layers(k, sizes))(
            jax.random.split(networks, config.networks)
        ),
    }


def velo_rates(rms_decay: float = 0.999) -> Rates:
    """Returns rates for decays 0.9, 0.99, 0.999 of momenta and factored averages."""
    three = jnp.asarray([0.1, 0.01, 0.001], jnp.float32)
    return Rates(three, jnp.asarray([1.0 - rms_decay], jnp.float32), three)


def tensor_row(
    parameter: Array, moments: Moments, progress: Array, losses: Array, config: VeLOConfig
) -> Array:
    """Returns the features of a tensor, `[F]`; moments are relative to its root mean square.

    Features: progress, loss, mean of the mean squares, rank, variances of momenta, and second
    moments of the mean squares about the three means of momenta, as in the published code, which
    calls them variances. The mean squares are divided by the root mean square of the tensor once,
    not twice. The order is that of the published names, with `fraction_left` for progress.

    Args:
      parameter: parameter `[*shape]`, at least one element.
      moments: accumulators before this update.
      progress: progress features `[9]`.
      losses: loss features `[9]`.
      config: config, which determines whether there is a validation flag.
    """
    assert moments.rms is not None
    p = parameter.astype(jnp.float32)
    inverse = jax.lax.rsqrt(jnp.maximum(_TINY, jnp.mean(p * p)))
    mean, variance = _mean_and_variance(moments.momenta)
    square_mean, square_variance = _mean_and_variance(moments.rms)
    # mean((v - a)^2) is var(v) + (mean(v) - a)^2, for all three a in one pass
    about_momenta = square_variance + (square_mean - mean) ** 2
    long_axes = sum(size > 1 for size in p.shape)
    parts = [
        progress,
        losses,
        _compressed(square_mean * inverse),
        jax.nn.one_hot(long_axes, RANKS),
        _compressed(variance * inverse**2),
        _compressed(about_momenta * inverse**2),
    ]
    if config.validation is not None:
        parts.append(jnp.full(1, float(config.validation)))
    return jnp.concatenate(parts)


def tensor_networks(
    theta: Theta,
    config: VeLOConfig,
    rows: Sequence[Array],
    scales: Sequence[Array],
    state: LSTMState,
) -> tuple[list[TensorNetwork], LSTMState]:
    """Generates the per-parameter network of each tensor.

    `W = mixture_scale mean_k(control_k W_k)`, kernels and biases alike.

    Args:
      theta: weights from `velo_init`.
      config: config of theta.
      rows: features from `tensor_row`, N arrays `[F]`.
      scales: root mean square of each tensor, N scalars.
      state: state of the LSTM.

    Returns:
      N networks, and the new state of the LSTM.
    """
    if not rows:
        return [], state
    state = lstm(theta["tensors"]["lstm"], mix_tensors(theta["tensors"], jnp.stack(rows)), state)
    weights = linear(theta["controls"], state.hidden) * (config.mixture_scale / config.networks)
    factors = linear(theta["step_size"], state.hidden)[:, 0] * STEP_SCALE
    exact = jax.lax.Precision.HIGHEST
    mixtures = jax.tree.map(
        lambda w: jnp.tensordot(weights, w, 1, precision=exact), theta["networks"]
    )
    networks = []
    for i, scale in enumerate(scales):
        layers = [mixtures[f"layer_{j}"] for j in range(len(mixtures))]
        pairs = [(layer["kernel"][i], layer["bias"][i]) for layer in layers]
        networks.append(TensorNetwork(pairs, factors[i] * scale))
    return networks, state


def tensor_scale(parameter: Array) -> Array:
    """Returns the root mean square `sqrt(mean(p^2) + 1e-9)`, a float32 scalar."""
    p = parameter.astype(jnp.float32)
    return jnp.sqrt(jnp.mean(p * p) + _TINY)


def _mean_and_variance(averages: Array) -> tuple[Array, Array]:
    """Returns mean and variance over each tensor of `[K, *shape]`."""
    axes = tuple(range(1, averages.ndim))
    mean = jnp.mean(averages, axes)
    centered = averages - mean.reshape(-1, *[1] * len(axes))
    return mean, jnp.mean(centered * centered, axes)


def _compressed(x: Array) -> Array:
    return 0.5 * jnp.clip(jnp.log(1e-8 + jnp.abs(10.0 * x)), -5.0, 5.0)
