"""Weights for tests: random ones, and the released ones where they are at hand."""

import os
from pathlib import Path

import numpy as np
import pytest

from metarl.optimizers.open.open_network import OpenNetworkConfig, from_vector

VARIABLE = "METARL_REFERENCE_DATA"


def random_theta(seed=0, config=None, scale=0.7):
    config = OpenNetworkConfig() if config is None else config
    vector = np.random.default_rng(seed).normal(size=config.size) * scale
    return from_vector(config, vector.astype(np.float32))


def released(name):
    """Path of a released file; skips the test where it is not at hand."""
    return released_file(f"open/{name}.npy")


def released_file(name):
    """The same for a file by its name in the folder."""
    path = Path(os.environ.get(VARIABLE, "")) / name
    if not os.environ.get(VARIABLE) or not path.is_file():
        pytest.skip(f"{VARIABLE} names no folder with {name}")
    return path
