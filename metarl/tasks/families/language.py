"""Character-level language models."""

from collections.abc import Callable
from dataclasses import dataclass, field
from math import log

import jax
import jax.numpy as jnp
import numpy as np

from metarl.core.errors import ConfigError
from metarl.core.types import Array, Key, PyTree
from metarl.tasks.datasets import Text
from metarl.tasks.families.batches import BatchConfig, Measure, family_of_data
from metarl.tasks.families.layers import cross_entropy
from metarl.tasks.families.span import Span
from metarl.tasks.family import TaskFamily


@dataclass(frozen=True, kw_only=True)
class LanguageConfig(BatchConfig):
    """Settings of all language models.

    Attributes:
      length: sequence length T in characters.
    """

    batch: Span = field(default=Span(32, 32))
    evaluated: int = 128
    length: int = 32

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.length < 1:
            raise ConfigError(f"length must be at least 1, got {self.length}.")


def language_model(
    name: str,
    config: LanguageConfig,
    text: Text,
    sample_network: Callable[[Key], PyTree],
    init: Callable[[Key, PyTree], PyTree],
    logits: Callable[[PyTree, PyTree, Array], Array],
) -> TaskFamily:
    """Makes a family of language models.

    Args:
      name: name of the family.
      config: settings of sequences and batches.
      text: text; sequences start at any position.
      sample_network: function that samples the architecture.
      init: `(key, network) -> params`.
      logits: `(params, network, characters [T]) -> [T, number of characters]`.

    Raises:
      ConfigError: the text is shorter than a sequence.
    """

    def measure(characters: np.ndarray) -> tuple[int, Measure]:
        starts = len(characters) - config.length
        if starts < 1:
            raise ConfigError(
                f"length must be below {len(characters)} for the text {text.name!r}, "
                f"got {config.length}."
            )

        def one(params: PyTree, network: PyTree, start: Array) -> dict[str, Array]:
            window = jax.lax.dynamic_slice_in_dim(
                jnp.asarray(characters), start, config.length + 1
            ).astype(jnp.int32)
            predicted, target = logits(params, network, window[:-1]), window[1:]
            right = (jnp.argmax(predicted, axis=-1) == target).astype(jnp.float32)
            return {"loss": jnp.mean(cross_entropy(predicted, target)), "accuracy": jnp.mean(right)}

        return starts, one

    chance = log(len(text.characters))
    return family_of_data(
        name, config, sample_network, init, measure(text.train), measure(text.test), chance
    )
