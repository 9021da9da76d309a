"""Validation of loaded artifacts: kind, architecture and arrays."""

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from metarl.core.errors import ArtifactError, ConfigError

Config = TypeVar("Config")


def check_kind(path: str | Path, card: Mapping[str, Any], kind: str) -> None:
    """Raises ArtifactError unless the card's `kind` is this one."""
    if card.get("kind") != kind:
        raise ArtifactError(f"{path} holds {card.get('kind')!r}, not {kind!r}.")


def architecture(path: str | Path, card: Mapping[str, Any], kind: type[Config]) -> Config:
    """Reads the architecture from a card.

    Raises:
      ArtifactError: a field is unknown, or a value is not valid.
    """
    return configured(path, card.get("architecture"), kind)


def configured(path: str | Path, described: Any, kind: type[Config]) -> Config:
    """Returns the config whose fields an artifact's card describes.

    Raises:
      ArtifactError: a field is unknown, or a value is not valid.
    """
    known = {field.name for field in fields(kind)}  # type: ignore[arg-type]
    if not isinstance(described, Mapping) or not described.keys() <= known:
        raise ArtifactError(
            f"{path}: the card's architecture is {described!r}. Permitted fields: "
            f"{', '.join(sorted(known))}."
        )
    try:
        return kind(**described)
    except (ConfigError, TypeError) as error:
        raise ArtifactError(f"{path}: the card's architecture is not valid: {error}") from error


def checked_arrays(
    path: str | Path, shapes: Mapping[str, tuple[int, ...]], arrays: Mapping[str, Any]
) -> dict[str, np.ndarray]:
    """Returns the arrays as float32.

    Raises:
      ArtifactError: names or shapes are not the expected ones, or an element is not finite.
    """
    found = {name: tuple(np.shape(array)) for name, array in arrays.items()}
    if found != dict(shapes):
        raise ArtifactError(
            f"{path}: arrays are {found}, its architecture requires {dict(shapes)}."
        )
    theta = {name: np.asarray(array, np.float32) for name, array in arrays.items()}
    for name, array in theta.items():
        if not np.all(np.isfinite(array)):
            raise ArtifactError(f"{path}: array {name!r} holds elements that are not finite.")
    return theta
