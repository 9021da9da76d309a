"""Saving and loading of learned rules: arrays with a card that holds their architecture."""

from collections.abc import Callable, Mapping
from dataclasses import asdict
from importlib.resources import files
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

import jax
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from metarl.core.types import Theta
from metarl.io.artifact_checks import architecture, check_kind, checked_arrays
from metarl.io.artifacts import WEIGHTS_SUFFIX, load_artifact, save_artifact

Config = TypeVar("Config")
Shapes = Mapping[str, tuple[int, ...]]
"""Shape of every array of theta, by its path with `/` between the keys."""


class StoredRule(NamedTuple, Generic[Config]):
    """Content of an artifact.

    Attributes:
      name: name of the rule; the stem of the file if the card has none.
      config: architecture.
      theta: meta-parameters, a nested dict of NumPy arrays (float32).
      card: metadata of the artifact.
    """

    name: str
    config: Config
    theta: Theta
    card: Mapping[str, Any]


def weight_files(folder: str) -> dict[str, Path]:
    """Returns the weight files in a folder of the package `metarl.rules`, by name."""
    root = Path(str(files("metarl.rules"))) / folder
    return {path.stem: path for path in root.glob(f"*{WEIGHTS_SUFFIX}")}


def load_rule(
    path: str | Path, kind: str, config_type: type[Config], shapes: Callable[[Config], Shapes]
) -> StoredRule[Config]:
    """Loads an artifact of one kind.

    Args:
      path: path of the `.safetensors` file, with its card beside it.
      kind: `kind` that the card must have.
      config_type: class of the architecture.
      shapes: function from the architecture to the shapes of theta.

    Raises:
      ArtifactError: the file is missing, altered, or of another kind.
    """
    artifact = load_artifact(path)
    check_kind(path, artifact.card, kind)
    config = architecture(path, artifact.card, config_type)
    theta = _checked(path, shapes(config), artifact.arrays)
    name = str(artifact.card.get("name") or Path(path).stem)
    return StoredRule(name, config, theta, artifact.card)


def save_rule(
    path: str | Path, theta: Theta, shapes: Shapes, config: Any, kind: str, card: Mapping[str, Any]
) -> Path:
    """Saves theta; adds `kind` and the architecture to the card.

    Args:
      path: path of the `.safetensors` file.
      theta: meta-parameters, a nested dict of arrays.
      shapes: shapes that theta must have.
      config: architecture, a dataclass.
      kind: kind of the artifact.
      card: further fields of `metarl.io.artifacts.CARD_FIELDS`, and any others.

    Returns:
      The path of the `.safetensors` file.

    Raises:
      ArtifactError: theta does not fit the architecture or is not finite, or a field is missing.
    """
    arrays = _checked(path, shapes, jax.tree.map(np.asarray, theta))
    return save_artifact(path, arrays, {**card, "kind": kind, "architecture": asdict(config)})


def _checked(path: str | Path, shapes: Shapes, theta: Theta) -> Theta:
    return unflatten_dict(checked_arrays(path, shapes, flatten_dict(theta, sep="/")), sep="/")
