"""Resizing and grayscale conversion of images."""

import numpy as np

from metarl.core.errors import ConfigError

_LUMINANCE = np.array([0.299, 0.587, 0.114], np.float32)
"""Weights of red, green and blue in luma (ITU-R BT.601)."""

_PART = 4096
"""Number of images per chunk, which bounds memory."""


def resize(images: np.ndarray, size: int, antialias: bool = True) -> np.ndarray:
    """Resizes images to squares.

    Args:
      images: images `[n, height, width, channels]`, uint8.
      size: new height and width, at most those of the images.
      antialias: whether a pixel is the mean over its area; False = linear interpolation at the
        center of the pixel, as in the published 8x8 tasks.

    Returns:
      Images `[n, size, size, channels]`, uint8, rounded.

    Raises:
      ConfigError: the size is not possible.
    """
    least = min(images.shape[1:3])
    if not 1 <= size <= least:
        raise ConfigError(f"Images can be resized to sizes from 1 to {least}, got {size}.")
    weights = _area_weights if antialias else _linear_weights
    rows, columns = weights(images.shape[1], size), weights(images.shape[2], size)

    def part(images: np.ndarray) -> np.ndarray:
        smaller = np.einsum(
            "ih,nhwc,jw->nijc", rows, images.astype(np.float32), columns, optimize=True
        )
        return np.rint(smaller).astype(np.uint8)

    return np.concatenate([part(images[i : i + _PART]) for i in range(0, len(images), _PART)])


def grayscale(images: np.ndarray) -> np.ndarray:
    """Converts color images `[n, height, width, 3]` to luma `[n, height, width, 1]`, uint8."""
    return np.rint(images.astype(np.float32) @ _LUMINANCE)[..., None].astype(np.uint8)


def _area_weights(before: int, after: int) -> np.ndarray:
    """Returns the weight of each old pixel in each new one, `[after, before]`."""
    edges = np.arange(after + 1) * before / after
    old = np.arange(before)
    overlap = np.minimum(edges[1:, None], old + 1) - np.maximum(edges[:-1, None], old)
    return (np.maximum(overlap, 0) * after / before).astype(np.float32)


def _linear_weights(before: int, after: int) -> np.ndarray:
    """Returns weights of linear interpolation at the new pixel centers, `[after, before]`."""
    centers = np.clip((np.arange(after) + 0.5) * before / after - 0.5, 0, before - 1)
    return np.maximum(1 - np.abs(centers[:, None] - np.arange(before)), 0).astype(np.float32)
