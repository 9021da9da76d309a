"""File formats of image data sets: idx (MNIST) and the binary version of CIFAR."""

import gzip
import io
import math
import tarfile
import zlib

import numpy as np

from metarl.core.errors import ArtifactError

_UNSIGNED_BYTE = 8
"""idx code of the element type of these data sets."""

_CIFAR_SIDE, _CIFAR_CHANNELS = 32, 3


def read_idx(name: str, content: bytes, axes: int) -> np.ndarray:
    """Reads a gzipped idx file of bytes.

    Two zero bytes, a type, the number of axes; then the size of each axis, big-endian in four
    bytes; then the elements, last axis fastest.

    Args:
      name: name of the file, for errors.
      content: compressed file.
      axes: expected number of axes.

    Returns:
      uint8 array.

    Raises:
      ArtifactError: the file is not gzip, not idx of bytes with this number of axes, or has the
        wrong size.
    """
    try:
        data = gzip.decompress(content)
    except (OSError, EOFError, zlib.error) as error:
        raise ArtifactError(f"{name} is not a whole gzip file: {error}.") from error
    magic = bytes([0, 0, _UNSIGNED_BYTE, axes])
    if data[:4] != magic:
        raise ArtifactError(
            f"{name} begins with {data[:4].hex()}, where {magic.hex()} stands for an idx file of "
            f"bytes with {axes} axes."
        )
    start = 4 + 4 * axes
    shape = tuple(int.from_bytes(data[i : i + 4], "big") for i in range(4, start, 4))
    if len(data) != start + math.prod(shape):
        raise ArtifactError(
            f"{name} says that its shape is {shape}, which takes {start + math.prod(shape)} bytes; "
            f"it has {len(data)}."
        )
    return np.frombuffer(data, np.uint8, offset=start).reshape(shape)


def read_cifar(name: str, content: bytes, members: tuple[str, ...]) -> tuple[np.ndarray, ...]:
    """Reads images and labels from members of the archive of CIFAR-10's binary version.

    A record is one byte of label, then 32x32 bytes of each of red, green and blue. Nothing is
    unpacked to the disk.

    Args:
      name: name of the archive, for errors.
      content: compressed archive.
      members: paths in the archive, whose records are concatenated in this order.

    Returns:
      Images `[n, 32, 32, 3]` and labels `[n]`, uint8.

    Raises:
      ArtifactError: the archive is incomplete, a member is missing, or has incomplete records.
    """
    pixels = _CIFAR_CHANNELS * _CIFAR_SIDE**2
    records = []
    try:
        with tarfile.open(fileobj=io.BytesIO(content), mode="r:gz") as archive:
            for member in members:
                stream = archive.extractfile(member)
                data = stream.read() if stream else b""
                if not data or len(data) % (1 + pixels):
                    raise ArtifactError(
                        f"{member} of {name} has {len(data)} bytes, which are not records of "
                        f"{1 + pixels}."
                    )
                records.append(np.frombuffer(data, np.uint8).reshape(-1, 1 + pixels))
    except KeyError as error:
        raise ArtifactError(f"{name} does not hold {error.args[0]}.") from error
    except (tarfile.TarError, OSError, EOFError, zlib.error) as error:
        raise ArtifactError(f"{name} is not a whole tar.gz archive: {error}.") from error
    joined = np.concatenate(records)
    images = joined[:, 1:].reshape(-1, _CIFAR_CHANNELS, _CIFAR_SIDE, _CIFAR_SIDE)
    return images.transpose(0, 2, 3, 1), joined[:, 0]
