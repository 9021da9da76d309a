"""What a data set is: arrays in memory, with a part that training never sees."""

from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np

from metarl.core.types import Array


@dataclass(frozen=True, eq=False)
class Dataset:
    """Inputs and their classes.

    Inputs of one byte an entry are kept so: a program that draws batches holds the data as a
    constant, and this is what its compilation costs.

    Attributes:
      name: as `metarl.tasks.datasets.load` knows it.
      train_inputs: `[n, ...]`, uint8 or float32; images are `[n, height, width, channels]`.
      train_targets: `[n]` int32, from 0.
      test_inputs: `[m, ...]`, none of which is in training.
      test_targets: `[m]` int32.
      classes: how many there are.
      scale: of inputs as a network sees them, `inputs * scale`.
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
        """Turns stored inputs into what a network sees, float32."""
        return inputs.astype(jnp.float32) * self.scale


@dataclass(frozen=True, eq=False)
class Text:
    """A text in characters, numbered from 0.

    Attributes:
      name: as `metarl.tasks.datasets.load` knows it.
      train: `[n]` uint8.
      test: `[m]` uint8; no line of it is in training.
      characters: all there are, in the order of their numbers.
    """

    name: str
    train: np.ndarray
    test: np.ndarray
    characters: str

    def decode(self, numbers: np.ndarray) -> str:
        """Spells numbers out."""
        return "".join(self.characters[int(number)] for number in np.asarray(numbers))
