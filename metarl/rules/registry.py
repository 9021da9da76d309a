"""Registry of drifts: handcrafted ones by name, learned ones by name or path."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax.numpy as jnp

from metarl.core.errors import ArtifactError, ConfigError, nearest
from metarl.core.types import Array, Key, Theta
from metarl.io.artifacts import CARD_SUFFIX, WEIGHTS_SUFFIX
from metarl.rules import drifts
from metarl.rules.learned_drift import LearnedDriftConfig, learned_drift, learned_drift_value
from metarl.rules.protocol import Drift
from metarl.rules.store import load_rule, save_rule, weight_files

KIND = "drift"
"""`kind` on the card of a drift."""

HANDCRAFTED: Mapping[str, Callable[[], Drift]] = {
    "dpo": drifts.dpo,
    "mdpo": drifts.mdpo,
    "none": drifts.none,
    "ppo": drifts.ppo,
}
"""Drifts without meta-parameters, by name."""


@dataclass(frozen=True, eq=False)
class LoadedDrift:
    """A learned drift: a function to subtract from `ratio * advantage` in any policy loss.

    Attributes:
      name: name of the drift.
      config: architecture.
      theta: parameters, `{"first": [8 or 16, H], "last": [H, 1]}` (NumPy, float32).
      card: metadata: how the drift was meta-trained and evaluated.

    Example:
      >>> import metarl.rules
      >>> drift = metarl.rules.load("lpo_cartpole.safetensors")  # doctest: +SKIP
      >>> loss = -(ratio * advantage - drift(ratio, advantage)).mean()  # doctest: +SKIP
    """

    name: str
    config: LearnedDriftConfig
    theta: Theta
    card: Mapping[str, Any]

    def __call__(
        self, ratio: Array, advantage: Array, progress: Array | float | None = None
    ) -> Array:
        """Returns the drift, elementwise; works under jit, grad and vmap.

        Args:
          ratio: `pi(a|s) / pi_old(a|s)`, `[...]`.
          advantage: advantages, standardized within the minibatch as in meta-training; broadcast
            to `[...]`.
          progress: fraction of training that has passed, in [0, 1]; only a temporal drift needs it.

        Raises:
          ConfigError: the drift is temporal, and no progress was given.
        """
        if progress is None and self.config.temporal:
            raise ConfigError(f"{self.name} is temporal: call drift(ratio, advantage, progress).")
        ratio, advantage = jnp.broadcast_arrays(ratio, advantage)
        return learned_drift_value(
            self.config, self.theta, ratio, advantage, 0.0 if progress is None else progress
        )

    @property
    def drift(self) -> Drift:
        """The `Drift` whose `init` returns these parameters."""

        def init(key: Key) -> Theta:
            del key
            return {name: jnp.asarray(array) for name, array in self.theta.items()}

        return Drift(self.name, init, learned_drift(self.config).apply)


def pretrained() -> list[str]:
    """Lists the names of the pretrained drifts in the package."""
    return sorted(_pretrained_paths())


def load(path_or_name: str | Path) -> LoadedDrift:
    """Loads a learned drift.

    Args:
      path_or_name: path of a `.safetensors` file with its card, or a name in `pretrained()`.

    Raises:
      ArtifactError: the file is missing, altered, or not a drift.
    """
    text = str(path_or_name)
    if not _is_path(path_or_name):
        paths = _pretrained_paths()
        if text not in paths:
            raise ArtifactError(
                f"No drift is called {text!r}.{nearest(text, paths)} "
                f"Pretrained: {', '.join(sorted(paths)) or 'none'}; or give the path of a "
                f"{WEIGHTS_SUFFIX} file."
            )
        path_or_name = paths[text]
    return LoadedDrift(*load_rule(path_or_name, KIND, LearnedDriftConfig, _shapes))


def save(
    path: str | Path, theta: Theta, config: LearnedDriftConfig, card: Mapping[str, Any]
) -> Path:
    """Saves a learned drift; see `metarl.rules.store.save_rule`."""
    return save_rule(path, theta, _shapes(config), config, KIND, card)


def by_name(name: str | Path) -> Drift:
    """Returns a handcrafted drift by name, or a learned one by name or path.

    Raises:
      ConfigError: no drift has this name.
      ArtifactError: the file is missing, altered, or not a drift.
    """
    text = str(name)
    if text in HANDCRAFTED:
        return HANDCRAFTED[text]()
    known = [*HANDCRAFTED, *pretrained()]
    if not _is_path(name) and text not in known:
        raise ConfigError(
            f"Unknown rule {text!r}.{nearest(text, known)} Permitted: "
            f"{', '.join(known)}, or the path of a {WEIGHTS_SUFFIX} file."
        )
    return load(name).drift


def _is_path(text: str | Path) -> bool:
    suffixed = str(text).endswith((WEIGHTS_SUFFIX, CARD_SUFFIX))
    return isinstance(text, Path) or suffixed or len(Path(text).parts) > 1


def _pretrained_paths() -> dict[str, Path]:
    return weight_files("weights")


def _shapes(config: LearnedDriftConfig) -> Mapping[str, tuple[int, ...]]:
    return config.shapes
