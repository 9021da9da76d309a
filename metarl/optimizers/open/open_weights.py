"""Loader of the published weights of OPEN."""

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

_MOST_BYTES = 1 << 20  # so that a damaged header cannot make NumPy allocate arbitrary memory


def by_path(path: str | Path) -> InnerOptimizer:
    """Loads OPEN with published weights, for `metarl.inner.ppo.PPO(inner_optimizer=...)`.

    Raises:
      ArtifactError: see `load_open`.
    """
    config, theta = load_open(path)
    return open_inner_optimizer(config, theta, name=f"open-{Path(path).stem}")


def load_open(path: str | Path) -> tuple[OpenNetworkConfig, Theta]:
    """Loads published weights of OPEN: a `.npy` file with one flat float32 vector.

    Args:
      path: path of the file.

    Returns:
      Config, inferred from the length, and theta.

    Raises:
      ArtifactError: the file is missing, damaged, or of another format; it is never unpickled.
    """
    vector = _read(Path(path))
    known = {config.size: config for config in PUBLISHED}
    if vector.dtype != np.float32 or vector.ndim != 1 or vector.size not in known:
        raise ArtifactError(
            f"{path} holds {vector.dtype} of shape {vector.shape}; weights of OPEN are float32 of "
            f"shape {' or '.join(f'({size},)' for size in known)}."
        )
    if not np.all(np.isfinite(vector)):
        raise ArtifactError(f"{path} holds elements that are not finite.")
    config = known[vector.size]
    return config, from_vector(config, jnp.asarray(vector))


def _read(path: Path) -> np.ndarray:
    data = read_at_most(path, _MOST_BYTES, "the weights", "any weights of OPEN")
    if not data.startswith(np.lib.format.MAGIC_PREFIX):
        raise ArtifactError(f"{path} is not a .npy file.")
    try:
        array = np.load(io.BytesIO(data), allow_pickle=False)
    except Exception as error:  # NumPy parses headers as Python; damage raises arbitrary errors
        raise ArtifactError(f"{path} is damaged, or holds Python objects: {error}") from None
    return np.asarray(array)
