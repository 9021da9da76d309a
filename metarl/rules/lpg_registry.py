"""Saving and loading of learned policy gradients."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from flax.traverse_util import flatten_dict

from metarl.core.types import Key, Theta
from metarl.rules.lpg import lpg
from metarl.rules.lpg_network import LPGConfig, init_theta
from metarl.rules.store import load_rule, save_rule, weight_files
from metarl.rules.update_rule import UpdateRule

KIND = "lpg"
"""`kind` on the card of a learned policy gradient."""


@dataclass(frozen=True, eq=False)
class LoadedLPG:
    """A learned policy gradient with its parameters.

    Attributes:
      name: name of the rule.
      config: architecture.
      theta: parameters, a nested dict (NumPy, float32).
      card: metadata: how the rule was meta-trained and evaluated.
    """

    name: str
    config: LPGConfig
    theta: Theta
    card: Mapping[str, Any]

    @property
    def rule(self) -> UpdateRule:
        """The update rule whose `init` returns these parameters."""
        rule = lpg(self.config, self.name)

        def init(key: Key) -> Theta:
            del key
            return jax.tree.map(jnp.asarray, self.theta)

        return UpdateRule(self.name, init, rule.outputs, rule.init_state, rule.targets, rule.loss)


def pretrained() -> list[str]:
    """Lists the names of the pretrained learned policy gradients in the package."""
    return sorted(weight_files("lpg_weights"))


def load(path: str | Path) -> LoadedLPG:
    """Loads a learned policy gradient.

    Args:
      path: path of a `.safetensors` file with its card, or a name in `pretrained()`.

    Raises:
      ArtifactError: the file is missing, altered, or not a learned policy gradient.
    """
    path = weight_files("lpg_weights").get(str(path), path)
    return LoadedLPG(*load_rule(path, KIND, LPGConfig, _shapes))


def save(path: str | Path, theta: Theta, config: LPGConfig, card: Mapping[str, Any]) -> Path:
    """Saves a learned policy gradient; see `metarl.rules.store.save_rule`."""
    return save_rule(path, theta, _shapes(config), config, KIND, card)


def _shapes(config: LPGConfig) -> dict[str, tuple[int, ...]]:
    template = jax.eval_shape(lambda key: init_theta(config, key), jax.random.key(0))
    return {name: tuple(leaf.shape) for name, leaf in flatten_dict(template, sep="/").items()}
