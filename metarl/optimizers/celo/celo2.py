"""Celo2: a learned, orthogonalized unit-RMS direction for matrices; AdamW for other tensors.

Moudgil et al. 2026, arXiv:2602.19142. Only the direction is learned: the step of a matrix has root
mean square 1 before the learning rate. Learning rate and weight decay are set by the user.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from metarl.core.errors import check_positive, check_range
from metarl.core.types import Array, Key, PyTree, Theta
from metarl.optimizers.celo.celo_adam import GRADIENT_LIMIT
from metarl.optimizers.celo.newton_schulz import newton_schulz
from metarl.optimizers.lopt.accumulators import in_float32, init_accumulators
from metarl.optimizers.lopt.per_parameter import (
    TensorNetwork,
    fold_constants,
    init_layers,
    update_tree,
)
from metarl.optimizers.protocol import InnerOptimizer, Steps, without_parameter_info
from metarl.optimizers.velo.velo_network import CHANNELS, OUTPUTS, VELO_FEATURES, velo_rates

FEATURES = replace(VELO_FEATURES, rms_eps=1e-8, normalizer_eps=1e-9, normalizer_axes=2)
"""The 30 channels of VeLO, each divided by its root mean square over the last two axes."""

VECTOR_CHANNELS = 15
"""Number of channels used at rank 0 and 1, where the published code has no factored ones."""

RMS_DECAY = 0.95
"""Decay of the mean square."""

ADAM_DECAYS = (0.9, 0.95)
"""Decays of AdamW's momentum and mean square."""

LEARNING_RATE = 1e-3
"""Learning rate with which the published weights were meta-trained."""

Mask = PyTree | Callable[[PyTree], PyTree]
"""A tree of booleans, or a function from parameters to such a tree."""


@dataclass(frozen=True)
class Celo2Config:
    """Architecture; the defaults are those of the published Celo2.

    The published variant Celo2-base has `orthogonal=False` and no AdamW tensors.

    Attributes:
      width: width of the two hidden layers.
      orthogonal: whether steps of matrices are orthogonalized.
      iterations: number of Newton-Schulz iterations.
      collapse: whether a tensor of rank above 2 is reshaped to one matrix `[-1, last axis]`; False
        as published: it is a batch of matrices of its last two axes.
    """

    width: int = 8
    orthogonal: bool = True
    iterations: int = 5
    collapse: bool = False

    def __post_init__(self) -> None:
        check_positive(width=self.width, iterations=self.iterations)


class Celo2State(NamedTuple):
    """State of the learned direction.

    Attributes:
      moments: accumulators, see `metarl.optimizers.lopt.accumulators`.
    """

    moments: PyTree


def celo2_init(config: Celo2Config, key: Key) -> Theta:
    """Draws the meta-parameters: `network`, an MLP with 30 inputs and 3 outputs."""
    return {"network": init_layers(key, (CHANNELS, config.width, config.width, OUTPUTS))}


def vectors(params: PyTree) -> PyTree:
    """Marks tensors of rank 0 and 1."""
    return jax.tree.map(lambda p: jnp.ndim(p) < 2, params)


def celo2(
    theta: Theta,
    config: Celo2Config | None = None,
    num_steps: Steps | None = None,
    learning_rate: optax.ScalarOrSchedule = LEARNING_RATE,
    weight_decay: float = 0.0,
    by_adam: Mask = vectors,
    adam_multiplier: float = 1.0,
    implementation: str | None = None,
) -> optax.GradientTransformationExtraArgs:
    """Returns the transformation `g -> -learning_rate (direction + weight_decay p)`.

    AdamW tensors (decays 0.9 and 0.95) have `adam_multiplier` times the learning rate and the same
    weight decay. Mark embeddings as AdamW tensors in `by_adam` too. For language models other ports
    suggest a cosine schedule from 3.16e-4 to a tenth of it, weight decay 0.1 and multiplier 20.

    Args:
      theta: weights, see `celo2_init`.
      config: architecture; None = that of the published Celo2.
      num_steps: unused.
      learning_rate: learning rate, or its schedule.
      weight_decay: weight decay of all tensors.
      by_adam: mask of AdamW tensors.
      adam_multiplier: factor of the learning rate for AdamW tensors.
      implementation: kernel implementation; None = the best available one.

    Raises:
      ConfigError: in `init` and `update`, see `metarl.optimizers.lopt.accumulators`.

    Reference: Moudgil et al. 2026, arXiv:2602.19142.
    """
    del num_steps
    learned = optax.chain(
        scale_by_celo2(theta, config, implementation),
        optax.add_decayed_weights(weight_decay),
        optax.scale_by_learning_rate(learning_rate),
    )
    b1, b2 = ADAM_DECAYS
    adam = in_float32(
        optax.chain(
            optax.clip(GRADIENT_LIMIT),
            optax.scale_by_adam(b1, b2),
            optax.add_decayed_weights(weight_decay),
            optax.scale_by_learning_rate(learning_rate),
            optax.scale(adam_multiplier),
        )
    )

    def labels(params: PyTree) -> PyTree:
        mask = by_adam(params) if callable(by_adam) else by_adam
        return jax.tree.map(lambda given: "adam" if given else "learned", mask)

    return optax.partition({"learned": learned, "adam": adam}, labels)


def scale_by_celo2(
    theta: Theta, config: Celo2Config | None = None, implementation: str | None = None
) -> optax.GradientTransformationExtraArgs:
    """Returns the learned unit-RMS direction of every tensor, without a learning rate.

    The direction is the first output of the network; matrices are orthogonalized by `newton_schulz`
    if `config.orthogonal`; then it is divided by its root mean square over the last two axes.

    Args:
      theta: weights, see `celo2_init`.
      config: architecture; None = that of the published Celo2.
      implementation: kernel implementation; None = the best available one.

    Raises:
      ConfigError: in `init` and `update`, see `metarl.optimizers.lopt.accumulators`.
    """
    config = Celo2Config() if config is None else config

    def shaped(tree: PyTree) -> PyTree:
        return jax.tree.map(_as_matrix, tree) if config.collapse else tree

    def init(params: PyTree) -> Celo2State:
        return Celo2State(init_accumulators(shaped(params), FEATURES))

    def update(
        updates: PyTree, state: Celo2State, params: PyTree | None = None, **unused: Any
    ) -> tuple[PyTree, Celo2State]:
        del unused
        vector, matrix = (_network(theta, rank) for rank in (1, 2))
        directions, moments = update_tree(
            FEATURES,
            [vector if jnp.ndim(p) < 2 else matrix for p in jax.tree.leaves(params)],
            shaped(updates),
            jax.tree.map(lambda p: p.astype(jnp.float32), shaped(params)),
            state.moments,
            velo_rates(RMS_DECAY),
            0.0,
            implementation,
        )
        finished = jax.tree.map(
            lambda d, p: _normalized_direction(d, config).reshape(p.shape).astype(p.dtype),
            directions,
            params,
        )
        return finished, Celo2State(moments)

    return optax.GradientTransformationExtraArgs(init, update)


def celo2_inner(
    config: Celo2Config | None = None,
    learning_rate: float = LEARNING_RATE,
    weight_decay: float = 0.0,
    by_adam: Mask = vectors,
    adam_multiplier: float = 1.0,
) -> InnerOptimizer:
    """Returns the `InnerOptimizer` for meta-training; see `celo2` for the arguments."""
    check_range(0.0, float("inf"), learning_rate=learning_rate, weight_decay=weight_decay)
    config = Celo2Config() if config is None else config
    make = partial(
        celo2,
        learning_rate=learning_rate,
        weight_decay=weight_decay,
        by_adam=by_adam,
        adam_multiplier=adam_multiplier,
    )
    return without_parameter_info("celo2", config, celo2_init, make)


def _network(theta: Theta, rank: int) -> TensorNetwork:
    """Returns the network of a tensor; its step is minus the direction."""
    (kernel, bias), *rest = fold_constants(theta["network"], jnp.zeros(0))
    if rank < 2:
        kernel = jnp.where(jnp.arange(CHANNELS)[:, None] < VECTOR_CHANNELS, kernel, 0.0)
    return TensorNetwork([(kernel, bias), *rest], -1.0)


def _normalized_direction(direction: Array, config: Celo2Config) -> Array:
    if direction.size == 0:
        return direction
    if config.orthogonal and direction.ndim >= 2:
        direction = newton_schulz(direction, config.iterations)
    axes = tuple(range(direction.ndim))[-2:]
    square = jnp.mean(direction * direction, axes, keepdims=True)
    return direction * jax.lax.rsqrt(square + FEATURES.normalizer_eps)


def _as_matrix(tensor: Array) -> Array:
    return tensor.reshape(-1, tensor.shape[-1]) if tensor.ndim > 2 else tensor
