"""Batched initialization of random orthogonal kernels."""

import math
from collections import defaultdict
from collections.abc import Sequence

import jax
import jax.numpy as jnp

from metarl.core.types import Array, Key

Shape = tuple[int, ...]


def orthogonal_kernels(key: Key, shapes: Sequence[Shape]) -> list[Array]:
    """Samples a uniformly random (semi-)orthogonal kernel of each shape.

    A kernel `[..., inputs, outputs]` is reshaped to `[rows, outputs]`, as in
    `jax.nn.initializers.orthogonal`: its columns are orthonormal, or its rows if it has fewer rows.

    All kernels come from one array of normal numbers; kernels with equal longer sides share one
    batched QR decomposition. The first n columns of Q depend on the first n columns of the matrix
    only, so a narrow kernel takes the leading columns of a wider Q. This compiles faster than one
    decomposition per layer.
    """
    groups: dict[int, list[int]] = defaultdict(list)
    for i, shape in enumerate(shapes):
        groups[max(_matrix(shape))].append(i)
    stacks = [
        (len(members), long, max(min(_matrix(shapes[i])) for i in members))
        for long, members in groups.items()
    ]
    sizes = [math.prod(stack) for stack in stacks]
    block = jax.random.normal(key, (sum(sizes),))
    kernels: dict[int, Array] = {}
    start = 0
    for members, stack, size in zip(groups.values(), stacks, sizes, strict=True):
        q = _orthonormal(block[start : start + size].reshape(stack))
        start += size
        kernels |= {i: _leading_columns(q[place], shapes[i]) for place, i in enumerate(members)}
    return [kernels[i] for i in range(len(shapes))]


def _matrix(shape: Shape) -> tuple[int, int]:
    return math.prod(shape[:-1]), shape[-1]


def _orthonormal(matrices: Array) -> Array:
    """Orthonormalizes the columns of `[..., rows, columns]`; uniform for normal entries."""
    q, r = jnp.linalg.qr(matrices)
    # The signs of R's diagonal depend on LAPACK; positive ones make the decomposition unique.
    return q * jnp.sign(jnp.diagonal(r, axis1=-2, axis2=-1))[..., None, :]


def _leading_columns(q: Array, shape: Shape) -> Array:
    rows, columns = _matrix(shape)
    narrow = q[:, : min(rows, columns)]
    return (narrow if rows >= columns else narrow.T).reshape(shape)
