"""Registry of task families."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from metarl.core.errors import ConfigError, check_choice
from metarl.core.options import check_options, check_types
from metarl.envs.names import base_name, options_in
from metarl.tasks import datasets
from metarl.tasks.datasets.registry import IMAGES, SERIES, TEXTS
from metarl.tasks.families.augment import AugmentConfig, augmented
from metarl.tasks.families.autoencoder import AutoencoderConfig, autoencoder
from metarl.tasks.families.conv import ConvConfig, conv
from metarl.tasks.families.functions import FUNCTIONS, FunctionConfig, function
from metarl.tasks.families.gru import GRUConfig, gru
from metarl.tasks.families.mlp import MLPConfig, mlp
from metarl.tasks.families.mu_mlp import MuMLPConfig, mu_mlp
from metarl.tasks.families.quadratic import QuadraticConfig, quadratic
from metarl.tasks.families.span import Span
from metarl.tasks.families.transformer import TransformerConfig, transformer
from metarl.tasks.family import TaskFamily


@dataclass(frozen=True)
class NoData:
    """Data settings of a family without data."""


@dataclass(frozen=True)
class ImageOptions:
    """Settings of images, see `metarl.tasks.datasets.load`; a size of 0 keeps the original size."""

    size: int = 0
    antialias: bool = True
    gray: bool = False


@dataclass(frozen=True)
class _Entry:
    """An entry of the registry.

    Attributes:
      config: class of the family's settings.
      make: `(name, config, data) -> family`.
      options: class of the data settings.
      load: `options -> data`, called when the family is made.
    """

    config: type
    make: Callable[[str, Any, Any], TaskFamily]
    options: type = NoData
    load: Callable[[Any], Any] = lambda options: None


_Rows: TypeAlias = dict[str, tuple[type, Callable[[str, Any, Any], TaskFamily]]]


def _quadratic(name: str, config: QuadraticConfig, nothing: None) -> TaskFamily:
    del nothing
    return quadratic(name, config)


def _loading(load: Callable[[str], Any], own: str) -> Callable[[Any], Any]:
    """Returns a loader of data without options."""
    return lambda options: load(own)


def _loading_images(own: str) -> Callable[[ImageOptions], datasets.Dataset]:
    return lambda options: datasets.load(own, options.size or None, options.antialias, options.gray)


def _entries() -> dict[str, _Entry]:
    entries = {"quadratic": _Entry(QuadraticConfig, _quadratic)}
    for own in FUNCTIONS:
        load = _loading(FUNCTIONS.__getitem__, own)
        entries[f"function/{own}"] = _Entry(FunctionConfig, function, load=load)
    of_anything: _Rows = {
        "mlp": (MLPConfig, mlp),
        "mu_mlp": (MuMLPConfig, mu_mlp),
        "autoencoder": (AutoencoderConfig, autoencoder),
    }
    of_images: _Rows = {**of_anything, "conv": (ConvConfig, conv)}
    of_text: _Rows = {
        "gru": (GRUConfig, gru),
        "transformer": (TransformerConfig, transformer),
    }
    for prefix, row in of_images.items():
        for own in IMAGES:
            images = _loading_images(own)
            entries[f"{prefix}/{own}"] = _Entry(row[0], row[1], ImageOptions, images)
    for prefix, row in of_anything.items():
        for own in SERIES:
            entries[f"{prefix}/{own}"] = _Entry(row[0], row[1], load=_loading(datasets.load, own))
    for prefix, row in of_text.items():
        for own in TEXTS:
            entries[f"{prefix}/{own}"] = _Entry(
                row[0], row[1], load=_loading(datasets.load_text, own)
            )
    return entries


_FAMILIES = _entries()


def names() -> list[str]:
    """Lists the names that `make` accepts; reads no data."""
    return list(_FAMILIES)


def make(name: str, **options: Any) -> TaskFamily:
    """Makes a family of training problems.

    Args:
      name: name of a family, such as `quadratic` or `mlp/digits`, see `names`. It may include
        options, as in `mlp/digits?width=8-64&depth=2` (syntax in `metarl.envs.names`, spans in
        `metarl.tasks.families.span`); these are then part of the family's name.
      **options: fields of the family's config, of `ImageOptions` for images, and of
        `AugmentConfig`.

    Raises:
      ConfigError: the name or an option is unknown, an option has the wrong type or is given twice.
      ArtifactError: the data cannot be downloaded, or are damaged.

    Example:
      >>> make("mlp/digits?width=8-64", depth=2).name
      'mlp/digits?width=8-64'
    """
    base, parsed = base_name(name), options_in(name)
    check_choice("family", base, _FAMILIES)
    if twice := sorted(parsed.keys() & options):
        raise ConfigError(f"{name!r} has option {twice[0]!r}, which is given beside it too.")
    entry = _FAMILIES[base]
    config, of_data, augment = _configured(
        base, (entry.config, entry.options, AugmentConfig), options | parsed
    )
    return augmented(entry.make(name, config, entry.load(of_data)), augment)


def _configured(name: str, classes: tuple[type, ...], options: Mapping[str, Any]) -> list[Any]:
    """Makes the configs from the options, checked by name and type."""
    fields = [inspect.signature(config).parameters for config in classes]
    check_options(name, options, [field for names in fields for field in names])
    configs = []
    for config, parameters in zip(classes, fields, strict=True):
        own = {key: value for key, value in options.items() if key in parameters}
        spans = {key for key in own if isinstance(parameters[key].default, Span)}
        check_types(name, {key: own[key] for key in own.keys() - spans}, config)
        configs.append(config(**own | {key: Span.parse(own[key]) for key in spans}))
    return configs
