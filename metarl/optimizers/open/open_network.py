"""Network of OPEN: a GRU and an MLP, applied to every parameter; and the layout of its weights.

Arrays are feature-major, `[F, n]` for `n` parameters: on CPU 1.5 times as fast as `[n, F]`, since
`n` is long and `F` is 3 to 24.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod

import jax
import jax.numpy as jnp

from metarl.core.errors import check_positive
from metarl.core.keys import named
from metarl.core.types import Array, Key, Theta

FEATURES = 19
"""Number of inputs of the network."""

OUTPUTS = 3
"""Outputs: size of the step, logarithm of its scale, size of the noise."""

NORM_EPS = 1e-6
"""Constant added to the variance in layer normalization."""


@dataclass(frozen=True)
class OpenNetworkConfig:
    """Architecture: a gated recurrent unit, then two hidden layers; the defaults are published.

    Attributes:
      recurrent: width H of the recurrent state of each parameter.
      hidden: width W of both hidden layers.
    """

    recurrent: int = 8
    hidden: int = 16

    def __post_init__(self) -> None:
        check_positive(recurrent=self.recurrent, hidden=self.hidden)

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of every array of theta, in the order of a published flat vector.

        Gates are r (reset), z (update) and n (candidate); `i` reads the features, `h` the state.
        """
        h, w = self.recurrent, self.hidden
        return {
            "hn_bias": (h,),
            "hn_kernel": (h, h),
            "hr_kernel": (h, h),
            "hz_kernel": (h, h),
            "in_bias": (h,),
            "in_kernel": (FEATURES, h),
            "ir_bias": (h,),
            "ir_kernel": (FEATURES, h),
            "iz_bias": (h,),
            "iz_kernel": (FEATURES, h),
            "dense_0_bias": (w,),
            "dense_0_kernel": (h, w),
            "norm_0_bias": (w,),
            "norm_0_scale": (w,),
            "dense_1_bias": (w,),
            "dense_1_kernel": (w, w),
            "norm_1_bias": (w,),
            "norm_1_scale": (w,),
            "dense_2_bias": (OUTPUTS,),
            "dense_2_kernel": (w, OUTPUTS),
        }

    @property
    def size(self) -> int:
        """Number of meta-parameters."""
        return sum(prod(shape) for shape in self.shapes.values())


PUBLISHED = (OpenNetworkConfig(), OpenNetworkConfig(recurrent=16, hidden=32))
"""Architectures of the published weights: for single environments, and for several."""


def open_init(config: OpenNetworkConfig, key: Key) -> Theta:
    """Draws initial weights whose steps are zero.

    Kernels have standard deviation `1 / sqrt(fan-in)`; the last kernel is zero.
    """

    def draw(name: str, shape: tuple[int, ...]) -> Array:
        if name.endswith("scale"):
            return jnp.ones(shape, jnp.float32)
        if name.endswith("bias") or name == "dense_2_kernel":
            return jnp.zeros(shape, jnp.float32)
        return jax.random.normal(named(key, name), shape, jnp.float32) * shape[0] ** -0.5

    return {name: draw(name, shape) for name, shape in config.shapes.items()}


def to_vector(config: OpenNetworkConfig, theta: Theta) -> Array:
    """Flattens theta to the published layout `[config.size]`, kernels row-major `(in, out)`."""
    return jnp.concatenate([jnp.ravel(theta[name]) for name in config.shapes])


def from_vector(config: OpenNetworkConfig, vector: Array) -> Theta:
    """Reads theta from a flat vector `[config.size]`, the inverse of `to_vector`."""
    theta, start = {}, 0
    for name, shape in config.shapes.items():
        theta[name] = vector[start : start + prod(shape)].reshape(shape)
        start += prod(shape)
    return theta


def open_network(theta: Mapping[str, Array], carry: Array, features: Array) -> tuple[Array, Array]:
    """Applies the network to every parameter.

    Args:
      theta: weights, see `OpenNetworkConfig.shapes`.
      carry: recurrent states `[H, n]`.
      features: input features `[19, n]`.

    Returns:
      Outputs `[3, n]` and new recurrent states `[H, n]`.
    """
    carry = _recurrent(theta, carry, features)
    x = carry
    for layer in ("0", "1"):
        x = _affine(theta, f"dense_{layer}", x)
        x = jax.nn.relu(_layer_norm(theta, f"norm_{layer}", x))
    return _affine(theta, "dense_2", x), carry


def _recurrent(theta: Mapping[str, Array], carry: Array, features: Array) -> Array:
    """Gated recurrent unit: `h' = (1 - z) n + z h`, `n = tanh(W x + b + r (U h + c))`."""
    gates = ("r", "z", "n")
    kernel_i = jnp.concatenate([theta[f"i{gate}_kernel"] for gate in gates], axis=1)
    kernel_h = jnp.concatenate([theta[f"h{gate}_kernel"] for gate in gates], axis=1)
    bias_i = jnp.concatenate([theta[f"i{gate}_bias"] for gate in gates])
    i_r, i_z, i_n = jnp.split(kernel_i.T @ features + bias_i[:, None], 3)
    h_r, h_z, h_n = jnp.split(kernel_h.T @ carry, 3)
    reset, update = jax.nn.sigmoid(i_r + h_r), jax.nn.sigmoid(i_z + h_z)
    candidate = jnp.tanh(i_n + reset * (h_n + theta["hn_bias"][:, None]))
    return (1.0 - update) * candidate + update * carry


def _affine(theta: Mapping[str, Array], name: str, x: Array) -> Array:
    return theta[f"{name}_kernel"].T @ x + theta[f"{name}_bias"][:, None]


def _layer_norm(theta: Mapping[str, Array], name: str, x: Array) -> Array:
    centered = x - jnp.mean(x, axis=0, keepdims=True)
    variance = jnp.mean(centered**2, axis=0, keepdims=True)
    scaled = centered * jax.lax.rsqrt(variance + NORM_EPS)
    return scaled * theta[f"{name}_scale"][:, None] + theta[f"{name}_bias"][:, None]
