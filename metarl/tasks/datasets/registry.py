"""Registry of data sets."""

from collections.abc import Callable
from functools import lru_cache
from typing import TypeAlias

from metarl.core.errors import ConfigError, check_choice
from metarl.tasks.datasets.dataset import Dataset, Text
from metarl.tasks.datasets.digits import digits
from metarl.tasks.datasets.images import (
    CIFAR10,
    FASHION_MNIST,
    MNIST,
    preprocess_images,
    read_cifar10,
    read_idx_files,
)
from metarl.tasks.datasets.mnist1d import mnist1d
from metarl.tasks.datasets.text import arithmetic, grammar

Loader: TypeAlias = Callable[[], Dataset]

IMAGES: dict[str, Loader] = {
    "digits": digits,
    "mnist": lambda: read_idx_files("mnist", MNIST),
    "fashion_mnist": lambda: read_idx_files("fashion_mnist", FASHION_MNIST),
    "cifar10": lambda: read_cifar10("cifar10", CIFAR10),
}
"""Data sets of images; all but the digits are downloaded when first used."""

SERIES: dict[str, Loader] = {"mnist1d": mnist1d}
"""Data sets of one-dimensional inputs."""

TEXTS: dict[str, Callable[[], Text]] = {"arithmetic": arithmetic, "grammar": grammar}
"""Data sets of text."""


def names() -> list[str]:
    """Lists the names that `load` or `load_text` accepts; reads no data."""
    return [*IMAGES, *SERIES, *TEXTS]


@lru_cache(maxsize=8)
def load(name: str, size: int | None = None, antialias: bool = True, gray: bool = False) -> Dataset:
    """Loads a classification data set; cached.

    Args:
      name: name in `IMAGES` or `SERIES`.
      size: height and width of images, see `metarl.tasks.datasets.images.preprocess_images`.
      antialias: whether to average over areas when images are resized.
      gray: whether images are converted to grayscale.

    Raises:
      ConfigError: the name is unknown, or an option does not fit the data.
      ArtifactError: a file is damaged or cannot be downloaded.
    """
    check_choice("data set", name, {**IMAGES, **SERIES})
    if name in IMAGES:
        return preprocess_images(IMAGES[name](), size, antialias, gray)
    if size is not None or gray:
        raise ConfigError(f"{name} has no images, so neither size nor gray can be set.")
    return SERIES[name]()


@lru_cache(maxsize=8)
def load_text(name: str) -> Text:
    """Loads a text; cached.

    Raises:
      ConfigError: the name is unknown.
    """
    check_choice("text", name, TEXTS)
    return TEXTS[name]()
