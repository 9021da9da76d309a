"""Saving and loading of learned optimizers."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax.traverse_util import flatten_dict, unflatten_dict

from metarl.core.errors import ArtifactError, ConfigError, nearest
from metarl.core.types import Key, PyTree, Theta
from metarl.io.artifact_checks import check_kind, checked_arrays, configured
from metarl.io.artifacts import CARD_SUFFIX, WEIGHTS_SUFFIX, load_artifact, save_artifact
from metarl.optimizers.architectures import ARCHITECTURES, Architecture, architecture_of
from metarl.optimizers.external.registry import UNDER_MUP, read_external, split_name
from metarl.optimizers.mup import mup, scale_by_multipliers
from metarl.optimizers.open import open_weights
from metarl.optimizers.protocol import InnerOptimizer, Steps, with_horizon

KIND = "learned_optimizer"
"""`kind` field of the card of a learned optimizer."""

_OPEN_SUFFIX = ".npy"


@dataclass(frozen=True, eq=False)
class LoadedOptimizer:
    """A learned optimizer with its weights.

    Attributes:
      name: display name.
      architecture: architecture.
      config: config of the architecture.
      theta: weights, nested dictionaries (NumPy, float32).
      mup: whether it was meta-trained under maximal-update parametrization.
      card: metadata of the artifact.
      assumed_steps: fixed `num_steps` on which it is conditioned; None = the true number.
    """

    name: str
    architecture: Architecture
    config: Any
    theta: Theta
    mup: bool
    card: Mapping[str, Any]
    assumed_steps: int | None = None

    def transformation(
        self, num_steps: Steps | None = None, multipliers: PyTree | None = None, **settings: Any
    ) -> optax.GradientTransformationExtraArgs:
        """Returns the optax transformation; see `load`."""
        steps = num_steps if self.assumed_steps is None else self.assumed_steps
        tx = self.architecture.make(self.theta, self.config, steps, **settings)
        if multipliers is not None:
            return optax.chain(tx, scale_by_multipliers(multipliers))
        if self.mup:
            raise ConfigError(
                f"{self.name} was meta-trained under maximal-update parametrization: pass the "
                "multipliers of your network's tensors, see "
                "metarl.optimizers.fan_in_multipliers."
            )
        return tx

    @property
    def inner(self) -> InnerOptimizer:
        """Inner optimizer whose theta is initialized to these weights."""
        made = with_horizon(self.architecture.inner(self.config), self.assumed_steps)
        made = mup(made) if self.mup else made

        def init(key: Key) -> Theta:
            del key
            return jax.tree.map(jnp.asarray, self.theta)

        return InnerOptimizer(self.name, init, made.transformation, made.needs_activity)


def names() -> list[str]:
    """Returns the names of the pretrained optimizers in this package."""
    return sorted(_pretrained())


def load(
    name_or_path: str | Path,
    num_steps: Steps | None = None,
    multipliers: PyTree | None = None,
    **settings: Any,
) -> optax.GradientTransformationExtraArgs:
    """Loads a learned optimizer as an optax transformation.

    Its updates are added to the parameters, as with Adam. The architecture's function documents the
    extra arguments of `update` (VeLO: `value`, the loss).

    Args:
      name_or_path: a name from `names`; the path of a `.safetensors` file with its card; or
        external weights such as `celo:PATH`, see `metarl.optimizers.external.loaders`.
      num_steps: number of updates of the training run; some architectures require it.
      multipliers: multipliers of maximal-update parametrization, see
        `metarl.optimizers.scale_by_multipliers`; None = none, an error for weights that were
        meta-trained with them.
      **settings: further arguments of the architecture's function, such as `implementation`.

    Raises:
      ArtifactError: the artifact is missing, altered, or not a learned optimizer.
      ConfigError: a required argument is missing.

    Example:
      >>> import metarl.optimizers
      >>> tx = metarl.optimizers.load("my-optimizer.safetensors")  # doctest: +SKIP
      >>> state = tx.init(params)  # doctest: +SKIP
      >>> updates, state = tx.update(gradient, state, params)  # doctest: +SKIP
    """
    return read(name_or_path).transformation(num_steps, multipliers, **settings)


def inner(name_or_path: str | Path) -> InnerOptimizer:
    """Loads a learned optimizer as an `InnerOptimizer` with theta initialized to its weights.

    Args:
      name_or_path: see `load`; or the path of published weights of OPEN, a `.npy` file.

    Raises:
      ArtifactError: the artifact is missing, altered, or not a learned optimizer.
    """
    if str(name_or_path).endswith(_OPEN_SUFFIX):
        return open_weights.by_path(name_or_path)
    return read(name_or_path).inner


def read(name_or_path: str | Path) -> LoadedOptimizer:
    """Reads weights and card; arguments and errors are those of `inner`, without OPEN."""
    external = split_name(name_or_path)
    if external is not None:
        return _read_external(*external)
    path = _path(name_or_path)
    artifact = load_artifact(path)
    check_kind(path, artifact.card, KIND)
    described = artifact.card.get("architecture")
    if not isinstance(described, Mapping) or described.get("name") not in ARCHITECTURES:
        raise ArtifactError(
            f"{path}: the card's architecture is {described!r}; its name must be one of "
            f"{', '.join(ARCHITECTURES)}."
        )
    architecture = ARCHITECTURES[described["name"]]
    config = configured(path, described.get("config"), architecture.config)
    found = flatten_dict(artifact.arrays, sep="/")
    flat = checked_arrays(path, _shapes(architecture, config), found)
    name = str(artifact.card.get("name") or path.stem)
    theta = unflatten_dict(flat, sep="/")
    under_mup, assumed = described.get("mup", False) is True, described.get("assumed_steps")
    if assumed is not None and (type(assumed) is not int or assumed < 1):
        raise ArtifactError(
            f"{path}: the card's assumed_steps is {assumed!r}, not a number of steps."
        )
    return LoadedOptimizer(name, architecture, config, theta, under_mup, artifact.card, assumed)


def save(
    path: str | Path,
    theta: Theta,
    config: Any,
    card: Mapping[str, Any],
    mup: bool = False,
    assumed_steps: int | None = None,
) -> Path:
    """Saves a learned optimizer; adds its kind and architecture to the card.

    Args:
      path: path of the `.safetensors` file.
      theta: weights.
      config: config, whose class determines the architecture.
      card: other fields of `metarl.io.artifacts.CARD_FIELDS`, and any further fields.
      mup: whether it was meta-trained under maximal-update parametrization.
      assumed_steps: fixed `num_steps` on which it is conditioned; None = the true number.

    Returns:
      The path of the `.safetensors` file.

    Raises:
      ConfigError: the class of the config is unknown.
      ArtifactError: theta does not fit the architecture or is not finite, or a field is missing.
    """
    kind = architecture_of(config)
    flat = flatten_dict(jax.tree.map(np.asarray, theta), sep="/")
    checked = checked_arrays(path, _shapes(ARCHITECTURES[kind], config), flat)
    described = {
        "name": kind,
        "config": asdict(config),
        "mup": mup,
        "assumed_steps": assumed_steps,
    }
    arrays = unflatten_dict(checked, sep="/")
    return save_artifact(path, arrays, {**card, "kind": KIND, "architecture": described})


def _read_external(prefix: str, path: str) -> LoadedOptimizer:
    config, theta = read_external(prefix, path)
    kind = ARCHITECTURES[architecture_of(config)]
    card = {"name": prefix, "description": f"Released by others, read from {path}."}
    return LoadedOptimizer(prefix, kind, config, theta, prefix in UNDER_MUP, card)


def _path(name_or_path: str | Path) -> Path:
    text = str(name_or_path)
    suffixed = text.endswith((WEIGHTS_SUFFIX, CARD_SUFFIX))
    if isinstance(name_or_path, Path) or suffixed or len(Path(text).parts) > 1:
        return Path(name_or_path)
    pretrained = _pretrained()
    if text not in pretrained:
        raise ArtifactError(
            f"No learned optimizer is called {text!r}.{nearest(text, pretrained)} "
            f"Pretrained: {', '.join(sorted(pretrained)) or 'none'}; or give the path of a "
            f"{WEIGHTS_SUFFIX} file."
        )
    return pretrained[text]


def _pretrained() -> dict[str, Path]:
    folder = Path(str(files("metarl.optimizers"))) / "weights"
    return {path.stem: path for path in folder.glob(f"*{WEIGHTS_SUFFIX}")}


def _shapes(architecture: Architecture, config: Any) -> dict[str, tuple[int, ...]]:
    template = jax.eval_shape(lambda key: architecture.init(config, key), jax.random.key(0))
    return {name: tuple(leaf.shape) for name, leaf in flatten_dict(template, sep="/").items()}
