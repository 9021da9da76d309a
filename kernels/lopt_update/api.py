"""Entry points of the update, and the choice of its implementation."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import replace
from functools import partial
from types import MappingProxyType
from typing import Any, NamedTuple

import jax
from metarl.kernels.lopt_update import cpu_blocks, reference, unfolded
from metarl.kernels.lopt_update.config import KernelConfig, Precision
from metarl.kernels.lopt_update.features import FeatureSet
from metarl.kernels.lopt_update.moments import Moments, Rates
from metarl.kernels.lopt_update.network import Layer

Array = jax.Array


class Implementation(NamedTuple):
    """One way to compute the update.

    Attributes:
      run: function of `in_place` and the arguments of `lopt_update` without the last.
      backend: required `jax.default_backend()`; None = any.
      automatic: whether it is eligible when the caller names none. Eligible implementations are as
        exact as the reference and have been compared with it on their target hardware.
    """

    run: Callable[..., tuple[Array, Moments]]
    backend: str | None = None
    automatic: bool = True


def _plain(update: Any, in_place: bool, *arguments: Any) -> tuple[Array, Moments]:
    return reference.step_or_parameter(*arguments, in_place=in_place, update=update)


def _pallas_gpu(precision: Precision, in_place: bool, *arguments: Any) -> tuple[Array, Moments]:
    from metarl.kernels.lopt_update import pallas_gpu  # Pallas imports slowly

    config = KernelConfig(precision=precision, in_place=in_place)
    return pallas_gpu.lopt_update(*arguments, config=config)


def _pallas_tpu(in_place: bool, *arguments: Any) -> tuple[Array, Moments]:
    from metarl.kernels.lopt_update import pallas_tpu

    config = replace(pallas_tpu.CONFIG, in_place=in_place)
    return pallas_tpu.lopt_update(*arguments, config=config)


def _cpu_blocks(in_place: bool, *arguments: Any) -> tuple[Array, Moments]:
    return cpu_blocks.lopt_update(*arguments, in_place=in_place)


def _on_gpu(precision: Precision) -> Implementation:
    return Implementation(partial(_pallas_gpu, precision), "gpu", automatic=False)


_IMPLEMENTATIONS: Mapping[str, Implementation] = MappingProxyType(
    {
        "pallas_gpu": _on_gpu(jax.lax.Precision.HIGHEST),  # not yet run on a GPU
        "pallas_gpu_tf32x3": _on_gpu(jax.lax.DotAlgorithmPreset.TF32_TF32_F32_X3),
        "pallas_gpu_tf32": _on_gpu(jax.lax.DotAlgorithmPreset.TF32_TF32_F32),
        "pallas_gpu_bfloat16x3": _on_gpu(jax.lax.DotAlgorithmPreset.BF16_BF16_F32_X3),
        "pallas_gpu_bfloat16": _on_gpu(jax.lax.DotAlgorithmPreset.BF16_BF16_F32),
        "pallas_tpu": Implementation(_pallas_tpu, "tpu", automatic=False),  # not yet run on a TPU
        "cpu_blocks": Implementation(_cpu_blocks, "cpu"),
        "reference": Implementation(partial(_plain, reference.lopt_update)),
        "unfolded": Implementation(partial(_plain, unfolded.lopt_update), automatic=False),
    }
)
"""Implementations by name, in order of preference; the reference runs on every backend.

A suffix names the precision of matrix products of networks wider than 8; no suffix = float32.
"""

NAMES = tuple(_IMPLEMENTATIONS)
"""Names of all implementations, including those that cannot run on this machine."""

_RECORDED: ContextVar[set[str] | None] = ContextVar("_RECORDED", default=None)
_OVERRIDE: ContextVar[str | None] = ContextVar("_OVERRIDE", default=None)


@contextmanager
def record_implementations() -> Iterator[set[str]]:
    """Records the names of the implementations chosen by calls inside the context.

    The choice is made at trace time: functions that jax has already traced record nothing.
    """
    names: set[str] = set()
    token = _RECORDED.set(names)
    try:
        yield names
    finally:
        _RECORDED.reset(token)


@contextmanager
def override_implementation(name: str) -> Iterator[None]:
    """Makes `name` the default implementation of calls inside the context.

    The choice is made at trace time: functions that jax has already traced do not change.

    Raises:
      ValueError: the name is unknown, or the implementation cannot run on this machine.
    """
    token = _OVERRIDE.set(_checked(name))
    try:
        yield
    finally:
        _OVERRIDE.reset(token)


def implementations() -> tuple[str, ...]:
    """Lists the automatic implementations that can run on this machine, best first."""
    return tuple(
        name for name, way in _IMPLEMENTATIONS.items() if way.automatic and _can_run(way.backend)
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
    """Updates the moments of one tensor and returns its step `scale o_0 exp(exponent o_1)`.

    `o` are the outputs of a ReLU network. Its inputs are, for every element, the channels of
    `features`, each divided by its root mean square over the tensor. All arithmetic is float32.

    Args:
      features: channels that are the inputs of the network.
      layers: kernel `[in, out]` and bias `[out]` of each layer. Inputs that are equal for all
        elements are folded into the bias of the first layer.
      scale: factor of the step, a scalar.
      parameter, gradient: arrays `[*shape]`, any floating dtype, at least one element. Non-finite
        elements of the gradient count as zero; others are clipped to `GRADIENT_LIMIT`.
      moments: accumulators before this update, from `init_moments`.
      rates: rates of the accumulators.
      exponent: factor of the second output; 0 = the second output is not computed.
      implementation: name of an implementation, which is used or raises; None = the one set by
        `override_implementation`, else the first automatic one that can run.

    Returns:
      The step `[*shape]`, float32, to be subtracted from the parameter; and the new moments.

    Raises:
      ValueError: `implementation` is unknown or cannot run on this machine, or the first layer's
        number of rows differs from the number of channels.
    """
    given = (features, layers, scale, parameter, gradient, moments, rates, exponent)
    return _run(implementation, False, *given)


def lopt_apply(
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
    """Updates the moments and the parameter of one tensor.

    Arguments and errors are those of `lopt_update`. Kernels alias inputs and outputs; this avoids
    copies if the enclosing program donates these buffers (`jax.jit(..., donate_argnums)`).

    Returns:
      `parameter - step`, computed in float32, in the parameter's dtype; and the new moments.
    """
    given = (features, layers, scale, parameter, gradient, moments, rates, exponent)
    return _run(implementation, True, *given)


def _run(
    implementation: str | None,
    in_place: bool,
    features: FeatureSet,
    layers: Sequence[tuple[Array, Array]],
    *others: Any,
) -> tuple[Array, Moments]:
    check_layers(features, layers)
    named = [Layer(*layer) for layer in layers]
    return _IMPLEMENTATIONS[choose(implementation)].run(in_place, features, named, *others)


def check_layers(features: FeatureSet, layers: Sequence[tuple[Array, Array]]) -> None:
    """Raises ValueError if the first layer's rows differ from the number of channels."""
    rows, channels = layers[0][0].shape[0], features.count
    if rows != channels:
        raise ValueError(f"The first layer has {rows} rows, there are {channels} channels.")


def choose(implementation: str | None = None) -> str:
    """Returns the name of the implementation to run, and adds it to `record_implementations`.

    Raises:
      ValueError: the name is unknown, or the implementation cannot run on this machine.
    """
    if implementation is None:
        implementation = _OVERRIDE.get()
    name = _checked(implementations()[0] if implementation is None else implementation)
    names = _RECORDED.get()
    if names is not None:
        names.add(name)
    return name


def _checked(name: str) -> str:
    if name not in _IMPLEMENTATIONS:
        raise ValueError(
            f"Unknown implementation {name!r} of lopt_update. "
            f"Permitted: {', '.join(_IMPLEMENTATIONS)}."
        )
    backend = _IMPLEMENTATIONS[name].backend
    if not _can_run(backend):
        raise ValueError(
            f"Implementation {name!r} of lopt_update cannot run here: it needs jax's "
            f"backend to be {backend!r}, and it is {jax.default_backend()!r}."
        )
    return name


def _can_run(backend: str | None) -> bool:
    return backend is None or backend == jax.default_backend()
