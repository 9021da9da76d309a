"""Which implementation of the update runs."""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

import jax
from metarl.kernels.lopt_update import reference
from metarl.kernels.lopt_update.features import FeatureSet
from metarl.kernels.lopt_update.moments import Moments, Rates

Array = jax.Array

_IMPLEMENTATIONS: Mapping[str, Callable[..., tuple[Array, Moments]]] = MappingProxyType(
    {"reference": reference.lopt_update}
)
"""By name, the best first; the last one works everywhere."""


def implementations() -> tuple[str, ...]:
    """Lists implementations, in the order in which they are tried."""
    return tuple(_IMPLEMENTATIONS)


def lopt_update(
    features: FeatureSet,
    layers: Sequence[tuple[Array, Array]],
    scale: Array | float,
    parameter: Array,
    gradient: Array,
    moments: Moments,
    rates: Rates,
    exponent: float,
    implementation: str | None = None,
) -> tuple[Array, Moments]:
    """Moves the moments of one tensor and computes its step `scale o_0 exp(exponent o_1)`.

    `o` are the outputs of a network with rectified units that sees, for every element, the channels
    of `features`, each divided by its root mean square over the tensor. Everything is float32.

    Args:
      features: the channels.
      layers: kernel `[in, out]` and bias `[out]` of each layer. What is the same for all elements
        is in the bias of the first.
      scale: of the step, a scalar.
      parameter, gradient: `[*shape]`, any floating dtype, at least one element.
      moments: from `init_moments`.
      rates: of the moments.
      exponent: how much the second output counts; 0 = it is not computed.
      implementation: None = the first that can; a named one runs or fails.

    Returns:
      The step `[*shape]`, to be subtracted from the parameter, float32, and the new moments.

    Raises:
      ValueError: nothing is called `implementation`, or the first layer has another number of rows
        than there are channels.
    """
    layers = [reference.Layer(*layer) for layer in layers]
    channels = features.count
    if layers[0].kernel.shape[0] != channels:
        raise ValueError(
            f"The first layer has {layers[0].kernel.shape[0]} rows, there are {channels} channels."
        )
    function = _IMPLEMENTATIONS[choose(implementation)]
    return function(features, layers, scale, parameter, gradient, moments, rates, exponent)


def choose(implementation: str | None = None) -> str:
    """Returns the name of the implementation that runs when this one is asked for.

    Raises:
      ValueError: nothing is called so.
    """
    if implementation is None:
        return implementations()[-1]
    if implementation not in _IMPLEMENTATIONS:
        raise ValueError(
            f"Unknown implementation {implementation!r} of lopt_update. "
            f"Permitted: {', '.join(_IMPLEMENTATIONS)}."
        )
    return implementation
