"""MNIST-1D: noisy one-dimensional shapes of ten classes, generated as published.

Each example is a template of 12 points that is padded, stretched, scaled, shifted, sheared and
resampled at 40 points, with correlated noise in the padding and white noise. Random numbers are
sampled in the order of the published program, so examples equal the published ones up to rounding.

Reference: Greydanus and Kobak 2020, arXiv:2011.14439.
"""

import numpy as np
from scipy.ndimage import gaussian_filter1d

from metarl.tasks.datasets.dataset import Dataset

_TRAINING = 0.8
"""Fraction of training examples."""

_LONG, _SHORT = 72, 40
"""Points of an example during generation, and at the end."""

_TEMPLATES = (
    (5, 6, 6.5, 6.75, 7, 7, 7, 7, 6.75, 6.5, 6, 5),
    (5, 3, 3, 3.4, 3.8, 4.2, 4.6, 5, 5.4, 5.8, 5, 5),
    (5, 6, 6.5, 6.5, 6, 5.25, 4.75, 4, 3.5, 3.5, 4, 5),
    (5, 6, 6.5, 6.5, 6, 5, 5, 6, 6.5, 6.5, 6, 5),
    (5, 4.4, 3.8, 3.2, 2.6, 2.6, 5, 5, 5, 5, 5, 5),
    (5, 3, 3, 3, 3, 5, 6, 6.5, 6.5, 6, 4.5, 5),
    (5, 4, 3.5, 3.25, 3, 3, 3, 3, 3.25, 3.5, 4, 5),
    (5, 7, 7, 6.6, 6.2, 5.8, 5.4, 5, 4.6, 4.2, 5, 5),
    (5, 4, 3.5, 3.5, 4, 5, 5, 4, 3.5, 3.5, 4, 5),
    (5, 4, 3.5, 3.5, 4, 5, 5, 5, 5, 4.7, 4.3, 5),
)
"""The shapes of the ten digits."""


def mnist1d(examples: int = 5000) -> Dataset:
    """Generates the data set; one fifth is held out.

    Args:
      examples: number of examples, a multiple of 10; 5000 as published.
    """
    random = np.random.RandomState(42)
    each = examples // len(_TEMPLATES)
    drawn = [
        _example(template, random) for template in _standardized_templates() for _ in range(each)
    ]
    labels = np.repeat(np.arange(len(_TEMPLATES), dtype=np.int32), each)
    order = random.permutation(len(labels))
    inputs, labels = np.stack(drawn)[order], labels[order]
    inputs = ((inputs - inputs.mean()) / inputs.std()).astype(np.float32)
    split = int(_TRAINING * len(labels))
    return Dataset(
        "mnist1d", inputs[:split], labels[:split], inputs[split:], labels[split:], classes=10
    )


def _standardized_templates() -> np.ndarray:
    shapes = np.array(_TEMPLATES)
    shapes = (shapes - shapes.mean(1, keepdims=True)) / shapes.std(1, keepdims=True)
    return (shapes - shapes[:, :1]) / 6


def _example(template: np.ndarray, random: np.random.RandomState) -> np.ndarray:
    """Generates one example, `[40]`."""
    # The offset distinguishes zeros of the signal from padding.
    padding = np.zeros(36 + int(random.rand() * 25))
    signal = _resample(np.concatenate([template + 1e-8, padding]), _LONG)
    signal = signal * (1 + 0.4 * (random.rand() - 0.5))
    signal = np.roll(signal, random.randint(48))
    smooth = gaussian_filter1d(0.25 * random.randn(_LONG), 2)
    signal = np.where(signal != 0, signal, smooth) + 0.02 * random.randn(_LONG)
    slope = 0.75 * (random.rand() - 0.5)
    return _resample(signal - slope * np.linspace(-0.5, 0.5, _LONG), _SHORT)


def _resample(signal: np.ndarray, points: int) -> np.ndarray:
    """Resamples a signal at equally spaced points by linear interpolation."""
    return np.interp(np.linspace(0, 1, points), np.linspace(0, 1, len(signal)), signal)
