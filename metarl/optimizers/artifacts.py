"""Learned optimizers on disk, and by name."""

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
"""What the card of a learned optimizer calls itself."""

_OPEN_SUFFIX = ".npy"


@dataclass(frozen=True, eq=False)
class LoadedOptimizer:
    """A learned optimizer with its weights.

    Attributes:
      name: what it is called.
      architecture: its kind.
      config: of the architecture.
      theta: its weights, nested (NumPy, float32).
      mup: whether it was meta-trained under maximal-update parametrisation.
      card: what it is and how it was made.
      assumed_steps: how long it believes every training to be; None = as long as it is told.
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
        """Makes the optax transformation; see `load`."""
        steps = num_steps if self.assumed_steps is None else self.assumed_steps
        tx = self.architecture.make(self.theta, self.config, steps, **settings)
        if multipliers is not None:
            return optax.chain(tx, scale_by_multipliers(multipliers))
        if self.mup:
            raise ConfigError(
                f"{self.name} was meta-trained under maximal-update parametrisation: give the "
                "multipliers of your network's tensors, see "
                "metarl.optimizers.fan_in_multipliers."
            )
        return tx

    @property
    def inner(self) -> InnerOptimizer:
        """The optimizer for a learner, whose theta starts at these weights."""
        made = with_horizon(self.architecture.inner(self.config), self.assumed_steps)
        made = mup(made) if self.mup else made

        def init(key: Key) -> Theta:
            del key
            return jax.tree.map(jnp.asarray, self.theta)

        return InnerOptimizer(self.name, init, made.transformation, made.needs_activity)


def names() -> list[str]:
    """Lists the learned optimizers that come with the library."""
    return sorted(_pretrained())


def load(
    name_or_path: str | Path,
    num_steps: Steps | None = None,
    multipliers: PyTree | None = None,
    **settings: Any,
) -> optax.GradientTransformationExtraArgs:
    """Makes an optax transformation with trained weights.

    Its updates are added to the parameters, as those of Adam are; what `update` needs besides
    `params` (VeLO: `value`, the loss) the architecture's function says.

    Args:
      name_or_path: a name that `names` lists, or the path of a `.safetensors` file with its card;
        or weights of others, such as `celo:PATH`, see `metarl.optimizers.external.loaders`.
      num_steps: how many updates training will have; some architectures need it.
      multipliers: of maximal-update parametrisation, see `metarl.optimizers.scale_by_multipliers`;
        None = none, which weights that were trained with them refuse.
      **settings: further arguments of the architecture's function, such as `implementation`.

    Raises:
      ArtifactError: it is missing, altered, or not a learned optimizer.
      ConfigError: an argument is missing that these weights need.

    Example:
      >>> import metarl.optimizers
      >>> tx = metarl.optimizers.load("my-optimizer.safetensors")  # doctest: +SKIP
      >>> state = tx.init(params)  # doctest: +SKIP
      >>> updates, state = tx.update(gradient, state, params)  # doctest: +SKIP
    """
    return read(name_or_path).transformation(num_steps, multipliers, **settings)


def inner(name_or_path: str | Path) -> InnerOptimizer:
    """Makes the optimizer for a learner, whose theta starts at trained weights.

    Args:
      name_or_path: as for `load`; or the path of published weights of OPEN, a `.npy` file.

    Raises:
      ArtifactError: it is missing, altered, or not a learned optimizer.
    """
    if str(name_or_path).endswith(_OPEN_SUFFIX):
        return open_weights.by_path(name_or_path)
    return read(name_or_path).inner


def read(name_or_path: str | Path) -> LoadedOptimizer:
    """Reads weights and what they are; arguments and errors as those of `inner`, without OPEN."""
    foreign = split_name(name_or_path)
    if foreign is not None:
        return _released(*foreign)
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
        raise ArtifactError(f"{path}: the card's assumed_steps is {assumed!r}, no number of steps.")
    return LoadedOptimizer(name, architecture, config, theta, under_mup, artifact.card, assumed)


def save(
    path: str | Path,
    theta: Theta,
    config: Any,
    card: Mapping[str, Any],
    mup: bool = False,
    assumed_steps: int | None = None,
) -> Path:
    """Saves a learned optimizer; its kind and architecture are added to the card.

    Args:
      path: of the `.safetensors` file.
      theta: weights.
      config: of its architecture, which its class tells.
      card: the further fields of `metarl.io.artifacts.CARD_FIELDS`, and what else is worth saying.
      mup: whether it was meta-trained under maximal-update parametrisation.
      assumed_steps: how long it believes every training to be; None = as long as it is told.

    Returns:
      The path of the `.safetensors` file.

    Raises:
      ConfigError: the config is of no architecture.
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


def _released(prefix: str, path: str) -> LoadedOptimizer:
    config, theta = read_external(prefix, path)
    kind = ARCHITECTURES[architecture_of(config)]
    card = {"name": prefix, "description": f"Released by others, read from {path}."}
    return LoadedOptimizer(prefix, kind, config, theta, prefix in UNDER_MUP, card)


def _path(name_or_path: str | Path) -> Path:
    text = str(name_or_path)
    suffixed = text.endswith((WEIGHTS_SUFFIX, CARD_SUFFIX))
    if isinstance(name_or_path, Path) or suffixed or len(Path(text).parts) > 1:
        return Path(name_or_path)
    shipped = _pretrained()
    if text not in shipped:
        raise ArtifactError(
            f"No learned optimizer is called {text!r}.{nearest(text, shipped)} "
            f"Shipped: {', '.join(sorted(shipped)) or 'none'}; or give the path of a "
            f"{WEIGHTS_SUFFIX} file."
        )
    return shipped[text]


def _pretrained() -> dict[str, Path]:
    folder = Path(str(files("metarl.optimizers"))) / "weights"
    return {path.stem: path for path in folder.glob(f"*{WEIGHTS_SUFFIX}")}


def _shapes(architecture: Architecture, config: Any) -> dict[str, tuple[int, ...]]:
    template = jax.eval_shape(lambda key: architecture.init(config, key), jax.random.key(0))
    return {name: tuple(leaf.shape) for name, leaf in flatten_dict(template, sep="/").items()}
