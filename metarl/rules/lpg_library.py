"""Learned policy gradients on disk."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from metarl.core.types import Key, Theta
from metarl.io.artifact_checks import architecture, check_kind, checked_arrays
from metarl.io.artifacts import WEIGHTS_SUFFIX, load_artifact, save_artifact
from metarl.rules.lpg import lpg
from metarl.rules.lpg_network import LPGConfig, init_theta
from metarl.rules.update_rule import UpdateRule

KIND = "lpg"
"""What the card of a learned policy gradient calls itself."""


@dataclass(frozen=True, eq=False)
class LoadedLPG:
    """A learned policy gradient with its weights.

    Attributes:
      name: what it is called.
      config: its architecture.
      theta: its weights, nested (NumPy, float32).
      card: what it is and how it was made.
    """

    name: str
    config: LPGConfig
    theta: Theta
    card: Mapping[str, Any]

    @property
    def rule(self) -> UpdateRule:
        """The update rule whose theta starts at these weights."""
        rule = lpg(self.config, self.name)

        def init(key: Key) -> Theta:
            del key
            return jax.tree.map(jnp.asarray, self.theta)

        return UpdateRule(self.name, init, rule.outputs, rule.start, rule.targets, rule.loss)


def shipped() -> list[str]:
    """Lists the learned policy gradients that come with the library."""
    return sorted(path.stem for path in _folder().glob(f"*{WEIGHTS_SUFFIX}"))


def load(path: str | Path) -> LoadedLPG:
    """Loads a learned policy gradient.

    Args:
      path: of a `.safetensors` file with its card; or a name that `shipped` lists.

    Raises:
      ArtifactError: it is missing, altered, or not a learned policy gradient.
    """
    if str(path) in shipped():
        path = _folder() / f"{path}{WEIGHTS_SUFFIX}"
    artifact = load_artifact(path)
    check_kind(path, artifact.card, KIND)
    config = architecture(path, artifact.card, LPGConfig)
    flat = checked_arrays(path, _shapes(config), flatten_dict(artifact.arrays, sep="/"))
    name = str(artifact.card.get("name") or Path(path).stem)
    return LoadedLPG(name, config, unflatten_dict(flat, sep="/"), artifact.card)


def save(path: str | Path, theta: Theta, config: LPGConfig, card: Mapping[str, Any]) -> Path:
    """Saves a learned policy gradient; its kind and architecture are added to the card.

    Raises:
      ArtifactError: theta does not fit the architecture or is not finite, or a field is missing.
    """
    flat = flatten_dict(jax.tree.map(np.asarray, theta), sep="/")
    arrays = unflatten_dict(checked_arrays(path, _shapes(config), flat), sep="/")
    return save_artifact(path, arrays, {**card, "kind": KIND, "architecture": asdict(config)})


def _folder() -> Path:
    return Path(str(files("metarl.rules"))) / "lpg_weights"


def _shapes(config: LPGConfig) -> dict[str, tuple[int, ...]]:
    template = jax.eval_shape(lambda key: init_theta(config, key), jax.random.key(0))
    return {name: tuple(leaf.shape) for name, leaf in flatten_dict(template, sep="/").items()}
