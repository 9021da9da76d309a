"""Which implementation of the update runs."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import Any, NamedTuple

import jax
from metarl.kernels.lopt_update import reference
from metarl.kernels.lopt_update.config import KernelConfig, Precision
from metarl.kernels.lopt_update.features import FeatureSet
from metarl.kernels.lopt_update.moments import Moments, Rates

Array = jax.Array


class Implementation(NamedTuple):
    """One way to compute the update.

    Attributes:
      run: takes the arguments of `lopt_update` but for the last.
      backend: that jax must have; None = any.
      unasked: whether it is tried when none is named: it must be as exact as the reference, and
        have been compared with it on the hardware that it is for.
    """

    run: Callable[..., tuple[Array, Moments]]
    backend: str | None = None
    unasked: bool = True


def _pallas_gpu(precision: Precision, *arguments: Any) -> tuple[Array, Moments]:
    from metarl.kernels.lopt_update import pallas_gpu  # Pallas imports slowly

    return pallas_gpu.lopt_update(*arguments, KernelConfig(precision=precision))


def _on_gpu(precision: Precision) -> Implementation:
    return Implementation(partial(_pallas_gpu, precision), "gpu", unasked=False)


_IMPLEMENTATIONS: Mapping[str, Implementation] = MappingProxyType(
    {
        "pallas_gpu": _on_gpu(jax.lax.Precision.HIGHEST),  # no GPU has run it yet
        "pallas_gpu_tf32x3": _on_gpu(jax.lax.DotAlgorithmPreset.TF32_TF32_F32_X3),
        "pallas_gpu_tf32": _on_gpu(jax.lax.DotAlgorithmPreset.TF32_TF32_F32),
        "pallas_gpu_bfloat16": _on_gpu(jax.lax.DotAlgorithmPreset.BF16_BF16_F32),
        "reference": Implementation(reference.lopt_update),
    }
)
"""By name, the best first; the last one works everywhere.

The endings say how matrix products of networks more than 8 wide are done; no ending: in float32.
"""


def implementations() -> tuple[str, ...]:
    """Lists those that can run on this machine and need not be asked for, in the order tried."""
    return tuple(
        name for name, way in _IMPLEMENTATIONS.items() if way.unasked and _can_run(way.backend)
    )


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
      ValueError: nothing is called `implementation`, or it cannot run on this machine, or the first
        layer has another number of rows than there are channels.
    """
    named = [reference.Layer(*layer) for layer in layers]
    channels = features.count
    if named[0].kernel.shape[0] != channels:
        raise ValueError(
            f"The first layer has {named[0].kernel.shape[0]} rows, there are {channels} channels."
        )
    run = _IMPLEMENTATIONS[choose(implementation)].run
    return run(features, named, scale, parameter, gradient, moments, rates, exponent)


def choose(implementation: str | None = None) -> str:
    """Returns the name of the implementation that runs when this one is asked for.

    Raises:
      ValueError: nothing is called so, or it cannot run on this machine.
    """
    if implementation is None:
        return implementations()[0]
    if implementation not in _IMPLEMENTATIONS:
        raise ValueError(
            f"Unknown implementation {implementation!r} of lopt_update. "
            f"Permitted: {', '.join(_IMPLEMENTATIONS)}."
        )
    backend = _IMPLEMENTATIONS[implementation].backend
    if not _can_run(backend):
        raise ValueError(
            f"Implementation {implementation!r} of lopt_update cannot run here: it needs jax's "
            f"backend to be {backend!r}, and it is {jax.default_backend()!r}."
        )
    return implementation


def _can_run(backend: str | None) -> bool:
    return backend is None or backend == jax.default_backend()
