"""Loaders of learned optimizers published by other projects, from downloaded files.

| loader | files | licence |
|---|---|---|
| `load_celo`, `load_celo_adam` | `theta.state` of amoudgl/celo | MIT |
| `load_velo` | `theta.state` of Google's VeLO; a folder with PyLO's two safetensors | Apache-2.0 |
| `load_celo2` | `theta.state` of amoudgl/celo2; safetensors of PyLO | MIT, Apache-2.0 |
| `load_mulo` | safetensors of PyLO (btherien/mulo) | Apache-2.0 |

This library contains none of these weights. The key mappings are in
`metarl.optimizers.external.from_haiku` and `metarl.optimizers.external.from_torch`. Loaders check
shapes, name missing arrays, and ignore additional ones. They never unpickle: convert `.pt` and
`.pickle` files first, in an environment where you trust them.
"""

from pathlib import Path

from metarl.core.types import Theta
from metarl.optimizers.celo.celo import CeloConfig
from metarl.optimizers.celo.celo2 import Celo2Config
from metarl.optimizers.celo.celo_adam import CeloAdamConfig
from metarl.optimizers.external import from_haiku, from_torch
from metarl.optimizers.external.files import read_external_file
from metarl.optimizers.lopt.adafac_mlp_lopt import AdafacMLPLoptConfig
from metarl.optimizers.velo.velo_network import VeLOConfig


def load_celo(path: str | Path) -> tuple[CeloConfig, Theta]:
    """Reads Celo from a msgpack file.

    Returns:
      Config and theta (NumPy, float32).

    Raises:
      ArtifactError: the file is missing, damaged, or of another format.
    """
    return from_haiku.celo(read_external_file(path))


def load_celo_adam(path: str | Path) -> tuple[CeloAdamConfig, Theta]:
    """Reads Celo-Adam from a msgpack file; see `load_celo`."""
    return from_haiku.celo_adam(read_external_file(path))


def load_velo(path: str | Path, mixture_scale: float = 100.0) -> tuple[VeLOConfig, Theta]:
    """Reads VeLO from a msgpack file, or from a folder with both safetensors files of PyLO.

    Args:
      path: path of the file or folder.
      mixture_scale: scale of the mixture: 100 for Google's weights, 1 for the small ones of Celo's
        authors (`velo-s`). The files do not store it.

    Returns:
      Config and theta (NumPy, float32).

    Raises:
      ArtifactError: the file is missing, damaged, or of another format.
    """
    file = read_external_file(path)
    source = from_torch if "lstm.linear.weight" in file.arrays else from_haiku
    return source.velo(file, mixture_scale)


def load_celo2(path: str | Path) -> tuple[Celo2Config, Theta]:
    """Reads Celo2 from a msgpack or safetensors file; see `load_celo`.

    Celo2-base has the same arrays: set `orthogonal=False`, and pass `celo2` a `by_adam` that marks
    no tensor.
    """
    file = read_external_file(path)
    source = from_haiku if any("/" in name for name in file.arrays) else from_torch
    return source.celo2(file)


def load_mulo(path: str | Path) -> tuple[AdafacMLPLoptConfig, Theta]:
    """Reads muLO from a safetensors file; see `load_celo`."""
    return from_torch.mulo(read_external_file(path))
