"""Conversion of a pytree to a flat list of described host arrays and back, and its digest."""

import hashlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from metarl.core.errors import CheckpointError
from metarl.core.types import PyTree
from metarl.io import strict_json


class LeafSpec(NamedTuple):
    """Description of a leaf.

    Attributes:
      path: path in the tree, by `jax.tree_util.keystr`.
      dtype: name of the dtype; `key<...>` for PRNG keys.
      shape: shape of the leaf.
      key_impl: generator of a PRNG key (`threefry2x32`); None for all other leaves and for an
        abstract key, whose generator is unknown.
    """

    path: str
    dtype: str
    shape: tuple[int, ...]
    key_impl: str | None = None

    @property
    def text(self) -> str:
        """Dtype and shape in the notation `float32[2, 3]`."""
        return f"{self.dtype}[{', '.join(map(str, self.shape))}]"


def is_key(leaf: Any) -> bool:
    """Whether a leaf is a typed PRNG key, also an abstract one."""
    dtype = getattr(leaf, "dtype", None)
    return dtype is not None and jax.dtypes.issubdtype(dtype, jax.dtypes.prng_key)


def describe(tree: PyTree) -> list[LeafSpec]:
    """Describes the leaves of a tree of arrays, `ShapeDtypeStruct`s and Python numbers.

    Raises:
      CheckpointError: a leaf is of another type.
    """
    flat, _ = jax.tree_util.tree_flatten_with_path(tree)
    return [_describe_leaf(jax.tree_util.keystr(path), leaf) for path, leaf in flat]


def encode(tree: PyTree) -> tuple[list[LeafSpec], list[np.ndarray]]:
    """Returns the descriptions of all leaves and their host values; PRNG keys as raw words."""
    specs = describe(tree)
    raw = [jax.random.key_data(x) if is_key(x) else x for x in jax.tree.leaves(tree)]
    return specs, [np.asarray(x) for x in jax.device_get(raw)]


def decode(template: PyTree, specs: Sequence[LeafSpec], values: Sequence[np.ndarray]) -> PyTree:
    """Rebuilds the tree of `template` from values that match it (see `check_same`).

    Leaves are NumPy arrays, typed PRNG keys where keys were saved, and Python numbers where the
    template has them.
    """
    leaves, treedef = jax.tree.flatten(template)
    restored = [_decode_leaf(*entry) for entry in zip(leaves, specs, values, strict=True)]
    return jax.tree.unflatten(treedef, restored)


def check_same(saved: Sequence[LeafSpec], expected: Sequence[LeafSpec]) -> None:
    """Checks that saved leaves match a template.

    Raises:
      CheckpointError: leaves differ; the message describes the first ones.
    """
    by_path = {spec.path: spec for spec in saved}
    unexpected = by_path.keys() - {spec.path for spec in expected}
    differences = [f"{path} is saved but not expected" for path in sorted(unexpected)]
    for spec in expected:
        other = by_path.get(spec.path)
        if other is None:
            differences.append(f"{spec.path} is expected ({spec.text}) but not saved")
        elif (other.dtype, other.shape) != (spec.dtype, spec.shape):
            differences.append(f"{spec.path} is {other.text} where {spec.text} is expected")
    if differences:
        more = f"; and {len(differences) - 3} more" if len(differences) > 3 else ""
        raise CheckpointError("; ".join(differences[:3]) + more)


def digest(header: Any, specs: Sequence[LeafSpec], values: Sequence[np.ndarray]) -> str:
    """SHA-256 over a JSON header and every leaf's path, dtype, shape and bytes."""
    sha = hashlib.sha256(strict_json.canonical(header).encode())
    for spec, value in zip(specs, values, strict=True):
        described = strict_json.canonical([*spec, value.dtype.name, value.shape])
        sha.update(described.encode())
        sha.update(value.tobytes())
    return sha.hexdigest()


def _describe_leaf(path: str, leaf: Any) -> LeafSpec:
    if is_key(leaf):
        impl = None if isinstance(leaf, jax.ShapeDtypeStruct) else str(jax.random.key_impl(leaf))
        return LeafSpec(path, str(leaf.dtype), tuple(leaf.shape), impl)
    if not hasattr(leaf, "dtype") or not hasattr(leaf, "shape"):
        leaf = np.asarray(leaf)
    dtype = np.dtype(leaf.dtype)
    if dtype.kind in "OSUMm" or dtype.names:
        raise CheckpointError(f"The leaf {path or 'state'} is not a numeric array but {leaf!r}.")
    return LeafSpec(path, dtype.name, tuple(leaf.shape))


def _decode_leaf(template: Any, spec: LeafSpec, value: np.ndarray) -> Any:
    if spec.key_impl is not None:
        return jax.random.wrap_key_data(jnp.asarray(value), impl=spec.key_impl)
    if isinstance(template, bool | int | float | complex) and not isinstance(template, np.generic):
        return value.item()
    return value
