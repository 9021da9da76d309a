"""Metadata of parameter trees for learned optimizers: networks, layers, units."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

import jax
import optax

from metarl.core.errors import ConfigError, nearest
from metarl.core.types import Array, PyTree


@dataclass(frozen=True)
class ParameterInfo:
    """Metadata of one tensor.

    Attributes:
      network: name of its network; gradients of one network are clipped together.
      layer: position of its module in that network, from 0 (input) to 1 (output).
      noisy: whether its updates may be stochastic.
      units: path of the module whose output units are its last axis, if their activity is measured;
        None = not measured, the units count as equally active.
      multiplier: factor of its updates under maximal-update parametrization, a scalar.
    """

    network: str
    layer: float
    noisy: bool = False
    units: str | None = None
    multiplier: Array | float = 1.0


class _Module:
    """Network of a module, and its position in it."""

    def __init__(self, network: str, layer: float):
        self.network, self.layer = network, layer


def describe(
    params: PyTree,
    networks: Mapping[str, Sequence[str]] | None = None,
    noisy: Collection[str] = (),
    measured: bool = False,
) -> tuple[ParameterInfo, ...]:
    """Describes the tensors of a tree, in the order of its leaves.

    Position `i` of `L` modules is layer `i / (L - 1)`; the only module of a network is layer 0.

    Args:
      params: parameters, or their shapes.
      networks: paths of the modules of each network, from input to output, such as
        `{"actor": ("params/torso/Dense_0", "params/head")}`; a tensor may be a module by itself. A
        module listed by several networks counts in each and belongs to the first. None = one
        network `""` whose modules are the containers of tensors, in the order of the tree.
      noisy: networks whose updates may be stochastic.
      measured: whether each update receives the activity of every module that contains tensors.

    Raises:
      ConfigError: a tensor belongs to no module, or a module or network does not exist.
    """
    paths = leaf_paths(params)
    if networks is None:
        networks = {"": tuple(dict.fromkeys(_parent(path) for path in paths))}
    unknown = [name for name in noisy if name not in networks]
    if unknown:
        raise ConfigError(
            f"Unknown network {unknown[0]!r}.{nearest(unknown[0], networks)} "
            f"Permitted: {', '.join(networks)}."
        )
    modules = _modules(networks)
    _check_present(modules, paths)
    info = []
    for path in paths:
        owner = next((above for above in _upwards(path) if above in modules), None)
        if owner is None:
            raise ConfigError(f"The tensor {path!r} lies in no module of any network.")
        module = modules[owner]
        units = owner if measured and owner != path else None
        info.append(ParameterInfo(module.network, module.layer, module.network in noisy, units))
    return tuple(info)


def leaf_paths(params: PyTree) -> list[str]:
    """Returns the path of every leaf, its keys joined by `/`, in the order of the leaves."""
    leaves = jax.tree_util.tree_leaves_with_path(params)
    return [jax.tree_util.keystr(path, simple=True, separator="/") for path, _ in leaves]


def clip_by_network_norm(
    max_norm: float, info: Sequence[ParameterInfo]
) -> optax.GradientTransformationExtraArgs:
    """Clips the gradient of each network by its own global norm."""

    def labels(params: PyTree) -> PyTree:
        return jax.tree.unflatten(jax.tree.structure(params), [leaf.network for leaf in info])

    clips = {leaf.network: optax.clip_by_global_norm(max_norm) for leaf in info}
    return optax.partition(clips, labels)


def _modules(networks: Mapping[str, Sequence[str]]) -> dict[str, _Module]:
    modules: dict[str, _Module] = {}
    for network, paths in networks.items():
        for i, path in enumerate(paths):
            modules.setdefault(path, _Module(network, i / max(len(paths) - 1, 1)))
    return modules


def _check_present(modules: Collection[str], paths: Sequence[str]) -> None:
    present = {above for path in paths for above in _upwards(path)}
    for module in modules:
        if module not in present:
            raise ConfigError(
                f"No parameters lie in the module {module!r}.{nearest(module, present)}"
            )


def _parent(path: str) -> str:
    return path.rpartition("/")[0]


def _upwards(path: str) -> Iterator[str]:
    """Yields a path and all its parents up to the root `""`."""
    yield path
    while path:
        path = _parent(path)
        yield path
