"""The networks of RNN-MLP: one that looks at tensors, one that looks at parameters, and their talk.

A recurrent network with a state for each tensor tells the per-parameter network 17 numbers; that
one tells it 16, its further outputs averaged over the tensor, one update later; and recurrent
networks tell each other 18, averaged over tensors, one update later too.

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
"""Of momenta and mean squares."""

STEP_SCALE = 1e-3
"""Multiplies every step."""

EXPONENT = 1e-3
"""Multiplies the second output, inside the exponential."""

TENSOR_FEATURES = 18
"""Numbers that describe a tensor, without what it is told."""

_SHAPES = 4
_OWN_OUTPUTS = 2
_TINY = 1e-8


@dataclass(frozen=True)
class RNNMLPConfig:
    """Architecture; the defaults are published.

    Attributes:
      hidden: width of both hidden layers of the per-parameter network.
      recurrent: H, units of the recurrent network.
      to_network: how many numbers it tells the per-parameter network.
      to_tensors: how many numbers recurrent networks tell each other.
      from_network: how many numbers the per-parameter network tells it.
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
    """`log(|p| + 1e-8)`."""
    return jnp.log(jnp.abs(x.parameter) + _TINY)[None]


def scaled_momenta(x: FeatureInputs, feature_set: FeatureSet) -> Array:
    """`m rsqrt(v + eps)`, with the v of the same decay."""
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
"""How many that are."""

_CONSTANTS = len(TIMESCALES) + 3


def rnn_mlp_rates() -> Rates:
    """Makes the rates of the moments."""
    rates = jnp.asarray([1.0 - decay for decay in DECAYS], jnp.float32)
    return Rates(rates, rates, jnp.zeros(0))


def rnn_mlp_init(config: RNNMLPConfig, key: Key) -> Theta:
    """Draws the meta-parameters.

    Returns:
      `lstm`, see `metarl.optimizers.velo.tensor_lstm.lstm_init`; the layers `to_network` and
      `to_tensors` on it; `network`, the per-parameter MLP; and what is told before the first
      update, `from_tensors` and `from_network`.
    """
    names = ("lstm", "to_network", "to_tensors", "network", "from_tensors", "from_network")
    keys = dict(zip(names, split_named(key, *names), strict=True))
    heard = TENSOR_FEATURES + config.to_tensors + config.from_network
    seen = CHANNELS + _CONSTANTS + config.to_network
    outputs = _OWN_OUTPUTS + config.from_network
    return {
        "lstm": lstm_init(keys["lstm"], heard, config.recurrent),
        "to_network": linear_init(keys["to_network"], config.recurrent, config.to_network),
        "to_tensors": linear_init(keys["to_tensors"], config.recurrent, config.to_tensors),
        "network": init_layers(keys["network"], (seen, config.hidden, config.hidden, outputs)),
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
    """Describes a tensor and what it is told, a vector.

    In the order of the published names: what it is told, norm of the gradient, whether it is a
    scalar, mean of momenta, of mean squares and of parameters (size and sign each), norm of the
    parameters, sizes of four axes, losses, and variances of the three.

    Args:
      parameter: `[*shape]`, at least one element.
      gradient: the same.
      moments: after this update.
      from_tensors: what recurrent networks told each other.
      from_network: what the per-parameter network told this tensor.
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
    told: Array,
) -> tuple[Array, Array]:
    """Applies the per-parameter network to a tensor.

    Beside the channels it sees `sin(t / (pi T))` for 11 timescales T, `log N - 1` of N tensors, the
    logarithms of the tensor's norm and of its size, and what it is told.

    Args:
      theta: from `rnn_mlp_init`.
      parameter: `[*shape]`, float32, at least one element.
      gradient: the same.
      moments: after this update.
      iteration: t, updates made before.
      tensors: N.
      told: by the recurrent network.

    Returns:
      The step `[*shape]`, to be subtracted from the parameter, and what it tells its tensor.
    """
    waves = jnp.sin(iteration / (jnp.pi * jnp.asarray(TIMESCALES, jnp.float32)))
    about = [log(tensors) - 1.0, jnp.log(norm(parameter) + _TINY), log(parameter.size)]
    constants = jnp.concatenate([waves, jnp.stack([jnp.float32(x) for x in about]), told])
    seen = FeatureInputs(gradient, parameter, moments.momenta, moments.rms, None, None)
    kinds = RNN_MLP_FEATURES.make(seen)
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
    """Euclidean norm, whose derivative at zero is zero."""
    square = jnp.sum(x * x)
    return jnp.where(square > 0, jnp.sqrt(jnp.where(square > 0, square, 1.0)), 0.0)


def _dense(kernel: Array, bias: Array, units: Array) -> Array:
    """Multiplies in full float32 on every device, `[outputs, n]`."""
    return jnp.matmul(kernel.T, units, precision=jax.lax.Precision.HIGHEST) + bias[:, None]


def _message_init(key: Key, size: int) -> Array:
    return jax.random.truncated_normal(key, -2.0, 2.0, (size,)) * size**-0.5


def _sizes_and_signs(x: Array) -> tuple[Sequence[Array], Array]:
    mean = jnp.mean(x)
    return (_compressed(mean), jnp.sign(mean)), _compressed(jnp.mean((x - mean) ** 2))


def _compressed(x: Array) -> Array:
    return jnp.clip(jnp.log(_TINY + jnp.abs(x)), -5.0, 5.0)
