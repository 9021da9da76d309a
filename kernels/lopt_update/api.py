"""Which implementation of the update runs."""

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
      run: takes whether to move the parameter in its place, and the arguments of `lopt_update` but
        for the last.
      backend: that jax must have; None = any.
      unasked: whether it is tried when none is named: it must be as exact as the reference, and
        have been compared with it on the hardware that it is for.
    """

    run: Callable[..., tuple[Array, Moments]]
    backend: str | None = None
    unasked: bool = True


def _plain(update: Any, in_place: bool, *arguments: Any) -> tuple[Array, Moments]:
    return reference.ends(*arguments, in_place=in_place, update=update)


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
    return Implementation(partial(_pallas_gpu, precision), "gpu", unasked=False)


_IMPLEMENTATIONS: Mapping[str, Implementation] = MappingProxyType(
    {
        "pallas_gpu": _on_gpu(jax.lax.Precision.HIGHEST),  # no GPU has run it yet
        "pallas_gpu_tf32x3": _on_gpu(jax.lax.DotAlgorithmPreset.TF32_TF32_F32_X3),
        "pallas_gpu_tf32": _on_gpu(jax.lax.DotAlgorithmPreset.TF32_TF32_F32),
        "pallas_gpu_bfloat16x3": _on_gpu(jax.lax.DotAlgorithmPreset.BF16_BF16_F32_X3),
        "pallas_gpu_bfloat16": _on_gpu(jax.lax.DotAlgorithmPreset.BF16_BF16_F32),
        "pallas_tpu": Implementation(_pallas_tpu, "tpu", unasked=False),  # nor has a TPU this
        "cpu_blocks": Implementation(_cpu_blocks, "cpu"),
        "reference": Implementation(partial(_plain, reference.lopt_update)),
        "unfolded": Implementation(partial(_plain, unfolded.lopt_update), unasked=False),
    }
)
"""By name, the best first; the reference works everywhere.

The endings say how matrix products of networks more than 8 wide are done; no ending: in float32.
"""

NAMES = tuple(_IMPLEMENTATIONS)
"""Of all implementations, whether they can run here or not."""

_NOTED: ContextVar[set[str] | None] = ContextVar("_NOTED", default=None)
_PREFERRED: ContextVar[str | None] = ContextVar("_PREFERRED", default=None)


@contextmanager
def record_implementations() -> Iterator[set[str]]:
    """Fills a set with the names of the implementations that calls inside choose.

    A call is made when a program is traced, so trace a function inside that jax has not seen.
    """
    names: set[str] = set()
    token = _NOTED.set(names)
    try:
        yield names
    finally:
        _NOTED.reset(token)


@contextmanager
def override_implementation(name: str) -> Iterator[None]:
    """Lets calls inside that name no implementation take this one.

    A call is made when a program is traced, so trace a function inside that jax has not seen.

    Raises:
      ValueError: nothing is called so, or it cannot run on this machine.
    """
    token = _PREFERRED.set(_checked(name))
    try:
        yield
    finally:
        _PREFERRED.reset(token)


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
      parameter, gradient: `[*shape]`, any floating dtype, at least one element. A number of the
        gradient that is not finite counts as zero, one beyond `GRADIENT_LIMIT` as that.
      moments: from `init_moments`.
      rates: of the moments.
      exponent: how much the second output counts; 0 = it is not computed.
      implementation: None = that of `override_implementation`, or the first that can; a named one runs or fails.

    Returns:
      The step `[*shape]`, to be subtracted from the parameter, float32, and the new moments.

    Raises:
      ValueError: nothing is called `implementation`, or it cannot run on this machine, or the first
        layer has another number of rows than there are channels.
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
    """Moves the moments of one tensor, and the tensor by its step.

    See `lopt_update` for arguments and errors. Kernels write both in their places; that needs no
    copy if the program they are part of is given these buffers (`jax.jit(..., donate_argnums)`).

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
    """Raises ValueError if the first layer has another number of rows than there are channels."""
    rows, channels = layers[0][0].shape[0], features.count
    if rows != channels:
        raise ValueError(f"The first layer has {rows} rows, there are {channels} channels.")


def choose(implementation: str | None = None) -> str:
    """Returns the name of the implementation that runs when this one is asked for; `record_implementations` sees it.

    Raises:
      ValueError: nothing is called so, or it cannot run on this machine.
    """
    if implementation is None:
        implementation = _PREFERRED.get()
    name = _checked(implementations()[0] if implementation is None else implementation)
    names = _NOTED.get()
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
