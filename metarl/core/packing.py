"""A `scan` that packs its carry and outputs into a few vectors instead of many small arrays."""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp

from metarl.core.types import Array, PyTree

_LARGEST = 1024
"""Maximum number of elements of a packed array; copying larger ones costs more than it saves."""


def packed_scan(
    function: Callable[[PyTree, PyTree], tuple[PyTree, PyTree]], carry: PyTree, xs: PyTree
) -> tuple[PyTree, PyTree]:
    """Equivalent of `jax.lax.scan` that packs all small arrays of one dtype into one vector.

    Each array in the carry and the outputs adds one or two operations to the loop's body. In a
    cheap body, such as a step of an environment, they take most of the time.
    """
    function = jax.jit(function, inline=True)  # traced once, for both shapes and loop
    first = jax.tree.map(lambda x: x[0], xs)
    carry_shapes, output_shapes = jax.eval_shape(function, carry, first)
    pack_carry, unpack_carry = _packing(carry_shapes)
    pack_outputs, unpack_outputs = _packing(output_shapes)

    def body(packed: PyTree, x: PyTree) -> tuple[PyTree, PyTree]:
        carry, outputs = function(unpack_carry(packed), x)
        return pack_carry(carry), pack_outputs(outputs)

    packed, outputs = jax.lax.scan(body, pack_carry(carry), xs)
    return unpack_carry(packed), jax.vmap(unpack_outputs)(outputs)


def _packing(shapes: PyTree) -> tuple[Callable[[PyTree], PyTree], Callable[[PyTree], PyTree]]:
    """Returns the functions that pack the small leaves of a tree and unpack them."""
    leaves, structure = jax.tree.flatten(shapes)
    groups: dict[str, list[int]] = {}
    for i, leaf in enumerate(leaves):
        key = jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
        alone = key or math.prod(leaf.shape) > _LARGEST
        groups.setdefault(f"leaf {i}" if alone else str(leaf.dtype), []).append(i)

    def pack(tree: PyTree) -> dict[str, Array]:
        arrays = jax.tree.leaves(tree)
        return {
            name: arrays[members[0]]
            if len(members) == 1
            else jnp.concatenate([jnp.ravel(arrays[i]) for i in members])
            for name, members in groups.items()
        }

    def unpack(packed: dict[str, Array]) -> PyTree:
        arrays: dict[int, Array] = {}
        for name, members in groups.items():
            if len(members) == 1:
                arrays[members[0]] = packed[name]
                continue
            start = 0
            for i in members:
                size = math.prod(leaves[i].shape)
                arrays[i] = packed[name][start : start + size].reshape(leaves[i].shape)
                start += size
        return jax.tree.unflatten(structure, [arrays[i] for i in range(len(leaves))])

    return pack, unpack
