"""Networks of RNN-MLP: a per-tensor LSTM, a per-parameter MLP, and their messages.

The LSTM sends the per-parameter network a message of size 17. The per-parameter network returns a
message of size 16, its further outputs averaged over the tensor, one update later. All LSTMs share
a message of size 18, averaged over tensors, one update later.

The per-parameter network is not that of `metarl.kernels`, which has no outputs beyond a step.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import log

import jax
import jax.numpy as jnp

from metarl.core.errors import check_positive
from metarl.core.keys import split_named
from metarl.core.types import Array, Key, Theta
from metarl.kernels.lopt_update import FeatureSet, Moments, Rates, features
from metarl.kernels.lopt_update.features import FeatureInputs
from metarl.optimizers.lopt.per_parameter import TIMESCALES, fold_constants, init_layers
from metarl.optimizers.velo.tensor_lstm import linear_init, lstm_init

DECAYS = (0.5, 0.9, 0.99, 0.999, 0.9999)
"""Decays of momenta and mean squares."""

STEP_SCALE = 1e-3
"""Factor of every step."""

EXPONENT = 1e-3
"""Factor of the second output inside the exponential."""

TENSOR_FEATURES = 18
"""Number of features of a tensor, without messages."""

_SHAPES = 4
_OWN_OUTPUTS = 2
_TINY = 1e-8


@dataclass(frozen=True)
class RNNMLPConfig:
    """Architecture; the defaults are published.

    Attributes:
      hidden: width of both hidden layers of the per-parameter network.
      recurrent: number of units H of the LSTM.
      to_network: size of the message from the LSTM to the per-parameter network.
      to_tensors: size of the message between LSTMs.
      from_network: size of the message from the per-parameter network to the LSTM.
    """

    hidden: int = 32
    recurrent: int = 64
    to_network: int = 17
    to_tensors: int = 18
    from_network: int = 16

    def __post_init__(self) -> None:
        check_positive(
            hidden=self.hidden,
            recurrent=self.recurrent,
            to_network=self.to_network,
            to_tensors=self.to_tensors,
            from_network=self.from_network,
        )


def log_parameter(x: FeatureInputs, feature_set: FeatureSet) -> Array:
    """Log magnitude of the parameter, `log(|p| + 1e-8)`."""
    return jnp.log(jnp.abs(x.parameter) + _TINY)[None]


def scaled_momenta(x: FeatureInputs, feature_set: FeatureSet) -> Array:
    """Scaled momenta `m rsqrt(v + eps)`, with the v of the same decay."""
    return x.momenta * features.inverse_rms(x, feature_set)


RNN_MLP_FEATURES = FeatureSet(
    channels=(
        features.gradient,
        features.parameter,
        log_parameter,
        features.momenta,
        features.rms,
        scaled_momenta,
        features.inverse_rms,
    ),
    momenta=len(DECAYS),
    rms=len(DECAYS),
    factored=0,
)
"""23 channels."""

CHANNELS = 3 + 4 * len(DECAYS)
"""Number of channels."""

_CONSTANTS = len(TIMESCALES) + 3


def rnn_mlp_rates() -> Rates:
    """Returns the rates of the moments."""
    rates = jnp.asarray([1.0 - decay for decay in DECAYS], jnp.float32)
    return Rates(rates, rates, jnp.zeros(0))


def rnn_mlp_init(config: RNNMLPConfig, key: Key) -> Theta:
    """Draws the meta-parameters.

    Returns:
      `lstm`, see `metarl.optimizers.velo.tensor_lstm.lstm_init`; its output layers `to_network` and
      `to_tensors`; `network`, the per-parameter MLP; and the initial messages `from_tensors` and
      `from_network`.
    """
    names = ("lstm", "to_network", "to_tensors", "network", "from_tensors", "from_network")
    keys = dict(zip(names, split_named(key, *names), strict=True))
    lstm_inputs = TENSOR_FEATURES + config.to_tensors + config.from_network
    network_inputs = CHANNELS + _CONSTANTS + config.to_network
    outputs = _OWN_OUTPUTS + config.from_network
    return {
        "lstm": lstm_init(keys["lstm"], lstm_inputs, config.recurrent),
        "to_network": linear_init(keys["to_network"], config.recurrent, config.to_network),
        "to_tensors": linear_init(keys["to_tensors"], config.recurrent, config.to_tensors),
        "network": init_layers(
            keys["network"], (network_inputs, config.hidden, config.hidden, outputs)
        ),
        "from_tensors": _message_init(keys["from_tensors"], config.to_tensors),
        "from_network": _message_init(keys["from_network"], config.from_network),
    }


def tensor_features(
    parameter: Array,
    gradient: Array,
    moments: Moments,
    from_tensors: Array,
    from_network: Array,
    losses: tuple[Array, Array],
) -> Array:
    """Returns the inputs of the LSTM for a tensor, a vector.

    In the order of the published names: messages, norm of the gradient, whether it is a scalar,
    mean of momenta, of mean squares and of parameters (size and sign each), norm of the parameters,
    sizes of four axes, losses, and variances of the three.

    Args:
      parameter: parameter `[*shape]`, at least one element.
      gradient: gradient `[*shape]`.
      moments: accumulators after this update.
      from_tensors: message of all LSTMs.
      from_network: message of the per-parameter network of this tensor.
      losses: features of the training and of the validation loss.
    """
    assert moments.rms is not None
    sizes = (*parameter.shape[:_SHAPES], *[1] * (_SHAPES - parameter.ndim))
    averaged = [_sizes_and_signs(x) for x in (moments.momenta, moments.rms, parameter)]
    numbers = [
        _compressed(norm(gradient)),
        1.0 if parameter.ndim == 0 else -1.0,
        *[number for mean, _ in averaged for number in mean],
        _compressed(norm(parameter)),
        *[log(size) - 1.0 for size in sizes],
        *losses,
        *[variance for _, variance in averaged],
    ]
    own = jnp.stack([jnp.asarray(number, jnp.float32) for number in numbers])
    return jnp.concatenate([from_tensors, from_network, own])


def apply_network(
    theta: Theta,
    parameter: Array,
    gradient: Array,
    moments: Moments,
    iteration: Array,
    tensors: int,
    message: Array,
) -> tuple[Array, Array]:
    """Applies the per-parameter network to a tensor.

    Inputs beside the channels are `sin(t / (pi T))` for 11 timescales T, `log N - 1` of N tensors,
    the logarithms of the tensor's norm and of its size, and the message of the LSTM.

    Args:
      theta: weights from `rnn_mlp_init`.
      parameter: parameter `[*shape]`, float32, at least one element.
      gradient: gradient `[*shape]`, float32.
      moments: accumulators after this update.
      iteration: number of updates t before this one.
      tensors: number of tensors N.
      message: message of the LSTM.

    Returns:
      The step `[*shape]`, to be subtracted from the parameter, and the message to the LSTM.
    """
    waves = jnp.sin(iteration / (jnp.pi * jnp.asarray(TIMESCALES, jnp.float32)))
    about = [log(tensors) - 1.0, jnp.log(norm(parameter) + _TINY), log(parameter.size)]
    constants = jnp.concatenate([waves, jnp.stack([jnp.float32(x) for x in about]), message])
    inputs = FeatureInputs(gradient, parameter, moments.momenta, moments.rms, None, None)
    kinds = RNN_MLP_FEATURES.make(inputs)
    channels = jnp.concatenate([x.reshape(-1, parameter.size) for x in kinds])
    square = jnp.mean(channels * channels, axis=1)
    scales = jax.lax.rsqrt(RNN_MLP_FEATURES.normalizer_eps + square)
    (kernel, bias), *rest = fold_constants(theta["network"], constants)
    units = _dense(kernel * scales[:, None], bias, channels)
    for layer in rest:
        units = _dense(*layer, jax.nn.relu(units))
    step = STEP_SCALE * units[0] * jnp.exp(EXPONENT * units[1])
    return step.reshape(parameter.shape), jnp.mean(units[_OWN_OUTPUTS:], axis=1)


def norm(x: Array) -> Array:
    """Returns the Euclidean norm, with derivative zero at zero."""
    square = jnp.sum(x * x)
    return jnp.where(square > 0, jnp.sqrt(jnp.where(square > 0, square, 1.0)), 0.0)


def _dense(kernel: Array, bias: Array, units: Array) -> Array:
    """Applies a layer in float32 on every device, `[outputs, n]`."""
    return jnp.matmul(kernel.T, units, precision=jax.lax.Precision.HIGHEST) + bias[:, None]


def _message_init(key: Key, size: int) -> Array:
    return jax.random.truncated_normal(key, -2.0, 2.0, (size,)) * size**-0.5


def _sizes_and_signs(x: Array) -> tuple[Sequence[Array], Array]:
    mean = jnp.mean(x)
    return (_compressed(mean), jnp.sign(mean)), _compressed(jnp.mean((x - mean) ** 2))


def _compressed(x: Array) -> Array:
    return jnp.clip(jnp.log(_TINY + jnp.abs(x)), -5.0, 5.0)
