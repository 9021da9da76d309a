"""The weights that the authors of OPEN released, on disk."""

import io
from pathlib import Path

import jax.numpy as jnp
import numpy as np

from metarl.core.errors import ArtifactError
from metarl.core.types import Theta
from metarl.io.bounded import read_at_most
from metarl.optimizers.open.open import open_inner_optimizer
from metarl.optimizers.open.open_network import PUBLISHED, OpenNetworkConfig, from_vector
from metarl.optimizers.protocol import InnerOptimizer

_MOST_BYTES = 1 << 20  # a damaged header must not make NumPy reserve memory for what is not there


def by_path(path: str | Path) -> InnerOptimizer:
    """Makes OPEN with published weights, for `metarl.inner.ppo.PPO(inner_optimizer=...)`.

    Raises:
      ArtifactError: see `load_open`.
    """
    config, theta = load_open(path)
    return open_inner_optimizer(config, theta, name=f"open-{Path(path).stem}")


def load_open(path: str | Path) -> tuple[OpenNetworkConfig, Theta]:
    """Loads published weights of OPEN: a `.npy` file with one flat float32 vector.

    Args:
      path: of the file.

    Returns:
      The architecture, which the length tells, and theta.

    Raises:
      ArtifactError: the file is missing, damaged, or something else; it is never unpickled.
    """
    vector = _read(Path(path))
    known = {config.size: config for config in PUBLISHED}
    if vector.dtype != np.float32 or vector.ndim != 1 or vector.size not in known:
        raise ArtifactError(
            f"{path} holds {vector.dtype} of shape {vector.shape}; weights of OPEN are float32 of "
            f"shape {' or '.join(f'({size},)' for size in known)}."
        )
    if not np.all(np.isfinite(vector)):
        raise ArtifactError(f"{path} holds numbers that are not finite.")
    config = known[vector.size]
    return config, from_vector(config, jnp.asarray(vector))


def _read(path: Path) -> np.ndarray:
    data = read_at_most(path, _MOST_BYTES, "the weights", "any weights of OPEN")
    if not data.startswith(np.lib.format.MAGIC_PREFIX):
        raise ArtifactError(f"{path} is not a .npy file.")
    try:
        array = np.load(io.BytesIO(data), allow_pickle=False)
    except Exception as error:  # NumPy parses a header as Python; damage raises what it meets
        raise ArtifactError(f"{path} is damaged, or holds Python objects: {error}") from None
    return np.asarray(array)
