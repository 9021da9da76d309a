"""Data sets: arrays in memory, with a held-out part."""

from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np

from metarl.core.types import Array


@dataclass(frozen=True, eq=False)
class Dataset:
    """A classification data set.

    Inputs of one byte per element are stored as uint8: a compiled program that samples batches
    holds the data as a constant, whose size determines the compile time.

    Attributes:
      name: name in `metarl.tasks.datasets.load`.
      train_inputs: training inputs `[n, ...]`, uint8 or float32; images are
        `[n, height, width, channels]`.
      train_targets: training classes `[n]` int32, from 0.
      test_inputs: held-out inputs `[m, ...]`.
      test_targets: held-out classes `[m]` int32.
      classes: number of classes.
      scale: factor of the inputs in `preprocess`.
    """

    name: str
    train_inputs: np.ndarray
    train_targets: np.ndarray
    test_inputs: np.ndarray
    test_targets: np.ndarray
    classes: int
    scale: float = 1.0

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one input."""
        return self.train_inputs.shape[1:]

    def preprocess(self, inputs: Array) -> Array:
        """Returns network inputs, `inputs * scale` in float32."""
        return inputs.astype(jnp.float32) * self.scale


@dataclass(frozen=True, eq=False)
class Text:
    """A text as character indices.

    Attributes:
      name: name in `metarl.tasks.datasets.load_text`.
      train: training text `[n]` uint8.
      test: held-out text `[m]` uint8; no line of it is in the training text.
      characters: vocabulary, in the order of the indices.
    """

    name: str
    train: np.ndarray
    test: np.ndarray
    characters: str

    def decode(self, numbers: np.ndarray) -> str:
        """Converts indices to text."""
        return "".join(self.characters[int(number)] for number in np.asarray(numbers))
