"""MNIST, Fashion-MNIST and CIFAR-10 from their official files."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from metarl.core.errors import ArtifactError, ConfigError
from metarl.tasks.datasets.dataset import Dataset
from metarl.tasks.datasets.download import RemoteFile, fetch
from metarl.tasks.datasets.formats import read_cifar, read_idx
from metarl.tasks.datasets.resize import grayscale, resize

_CLASSES = 10

_CIFAR_FOLDER = "cifar-10-batches-bin"


@dataclass(frozen=True)
class IdxFiles:
    """The four files of a data set in the format of MNIST."""

    train_images: RemoteFile
    train_labels: RemoteFile
    test_images: RemoteFile
    test_labels: RemoteFile


def _idx_files(folder: str, bases: tuple[str, ...], md5: Mapping[str, str]) -> IdxFiles:
    return IdxFiles(
        *(
            RemoteFile(f"{folder}/{name}", tuple(f"{base}/{name}" for base in bases), checksum)
            for name, checksum in md5.items()
        )
    )


MNIST = _idx_files(
    "mnist",
    (
        "https://ossci-datasets.s3.amazonaws.com/mnist",
        "https://storage.googleapis.com/cvdf-datasets/mnist",
    ),
    {
        "train-images-idx3-ubyte.gz": "f68b3c2dcbeaaa9fbdd348bbdeb94873",
        "train-labels-idx1-ubyte.gz": "d53e105ee54ea40749a09fcbcd1e9432",
        "t10k-images-idx3-ubyte.gz": "9fb629c4189551a2d022fa330f9573f3",
        "t10k-labels-idx1-ubyte.gz": "ec29112dd5afa0611ce80d1b7f02629c",
    },
)
"""LeCun, Cortes and Burges; the author's page is closed, these are the known mirrors."""

FASHION_MNIST = _idx_files(
    "fashion_mnist",
    (
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com",
        "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion",
    ),
    {
        "train-images-idx3-ubyte.gz": "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
        "train-labels-idx1-ubyte.gz": "25c81989df183df01b3e8a0aad5dffbe",
        "t10k-images-idx3-ubyte.gz": "bef4ecab320f06d8554ea6380940ec79",
        "t10k-labels-idx1-ubyte.gz": "bb300cfdad3c16e7a12a480ee83cd310",
    },
)
"""Xiao, Rasul and Vollgraf 2017, arXiv:1708.07747."""

CIFAR10 = RemoteFile(
    "cifar10/cifar-10-binary.tar.gz",
    ("https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",),
    "c32a1d4ab5d03f1284b67883e8d87530",
)
"""Krizhevsky 2009; the binary version, since the Python one is a pickle."""


def read_idx_files(name: str, files: IdxFiles, folder: Path | None = None) -> Dataset:
    """Loads a data set of images in the format of MNIST; downloads missing files.

    Raises:
      ArtifactError: see `fetch` and `read_idx`; or the numbers of images and labels differ.
    """

    def part(images: RemoteFile, labels: RemoteFile) -> tuple[np.ndarray, np.ndarray]:
        return _checked(
            images.name,
            read_idx(images.name, fetch(images, folder), axes=3)[..., None],
            read_idx(labels.name, fetch(labels, folder), axes=1),
        )

    train = part(files.train_images, files.train_labels)
    test = part(files.test_images, files.test_labels)
    return Dataset(name, *train, *test, classes=_CLASSES, scale=1 / 255)


def read_cifar10(name: str, file: RemoteFile, folder: Path | None = None) -> Dataset:
    """Loads CIFAR-10 from its binary version; downloads it if it is missing.

    Raises:
      ArtifactError: see `fetch` and `read_cifar`.
    """
    content = fetch(file, folder)
    training = tuple(f"{_CIFAR_FOLDER}/data_batch_{i}.bin" for i in range(1, 6))
    train = _checked(file.name, *read_cifar(file.name, content, training))
    test = _checked(
        file.name, *read_cifar(file.name, content, (f"{_CIFAR_FOLDER}/test_batch.bin",))
    )
    return Dataset(name, *train, *test, classes=_CLASSES, scale=1 / 255)


def preprocess_images(
    dataset: Dataset, size: int | None = None, antialias: bool = True, gray: bool = False
) -> Dataset:
    """Resizes images and converts them to grayscale.

    Args:
      dataset: data set of uint8 images.
      size: height and width; None = unchanged.
      antialias: whether to average over areas, see `resize`.
      gray: whether images are converted to grayscale.

    Raises:
      ConfigError: the size is not possible, or `gray` is set for images without colors.
    """
    steps: list[Callable[[np.ndarray], np.ndarray]] = []
    if gray:
        if dataset.shape[-1] != 3:
            raise ConfigError(f"{dataset.name} has no colours, so gray cannot be set.")
        steps.append(grayscale)
    if size is not None and (size, size) != dataset.shape[:2]:
        steps.append(lambda images: resize(images, size, antialias))
    for step in steps:
        dataset = replace(
            dataset,
            train_inputs=step(dataset.train_inputs),
            test_inputs=step(dataset.test_inputs),
        )
    return dataset


def _checked(name: str, images: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    if len(images) != len(labels):
        raise ArtifactError(f"{name} has {len(images)} images and {len(labels)} labels.")
    if labels.size and labels.max() >= _CLASSES:
        raise ArtifactError(f"{name} has label {labels.max()}, where 0 to {_CLASSES - 1} are.")
    return np.ascontiguousarray(images), labels.astype(np.int32)
