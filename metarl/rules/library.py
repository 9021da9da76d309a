"""Drifts on disk: loading one that was learned, and every rule by its name."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from metarl.core.errors import ArtifactError, ConfigError, nearest
from metarl.core.types import Array, Key, Theta
from metarl.io.artifact_checks import architecture, check_kind, checked_arrays
from metarl.io.artifacts import CARD_SUFFIX, WEIGHTS_SUFFIX, load_artifact, save_artifact
from metarl.rules import drifts
from metarl.rules.learned_drift import LearnedDriftConfig, learned_drift, learned_drift_value
from metarl.rules.protocol import Rule

KIND = "drift"
"""What the card of a drift calls itself."""

WRITTEN_DOWN: Mapping[str, Callable[[], Rule]] = {
    "dpo": drifts.dpo,
    "mdpo": drifts.mdpo,
    "none": drifts.none,
    "ppo": drifts.ppo,
}
"""Rules that need no weights, by name."""


@dataclass(frozen=True, eq=False)
class LoadedDrift:
    """A drift that was learned: a function to subtract from `ratio * advantage` in any loss.

    Attributes:
      name: what it is called.
      config: its architecture.
      theta: its weights, `{"first": [8 or 16, H], "last": [H, 1]}` (NumPy, float32).
      card: what it is and how it was made.

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
          advantage: standardised within the minibatch, as in its evolution; broadcast to `[...]`.
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
    def rule(self) -> Rule:
        """The rule whose theta starts at these weights."""

        def init(key: Key) -> Theta:
            del key
            return {name: jnp.asarray(array) for name, array in self.theta.items()}

        return Rule(self.name, init, learned_drift(self.config).drift)


def shipped() -> list[str]:
    """Lists the drifts that come with the library."""
    return sorted(_shipped_paths())


def load(path_or_name: str | Path) -> LoadedDrift:
    """Loads a learned drift.

    Args:
      path_or_name: a `.safetensors` file with its card, or a name that `shipped` lists.

    Raises:
      ArtifactError: it is missing, altered, or not a drift.
    """
    text = str(path_or_name)
    if not _is_path(path_or_name):
        paths = _shipped_paths()
        if text not in paths:
            raise ArtifactError(
                f"No drift is called {text!r}.{nearest(text, paths)} "
                f"Shipped: {', '.join(sorted(paths)) or 'none'}; or give the path of a "
                f"{WEIGHTS_SUFFIX} file."
            )
        path_or_name = paths[text]
    artifact = load_artifact(path_or_name)
    check_kind(path_or_name, artifact.card, KIND)
    config = architecture(path_or_name, artifact.card, LearnedDriftConfig)
    theta = _checked(path_or_name, config, artifact.arrays)
    name = str(artifact.card.get("name") or Path(path_or_name).stem)
    return LoadedDrift(name, config, theta, artifact.card)


def save(
    path: str | Path, theta: Theta, config: LearnedDriftConfig, card: Mapping[str, Any]
) -> Path:
    """Saves a learned drift; its kind and architecture are added to the card.

    Args:
      path: of the `.safetensors` file.
      theta: weights.
      config: architecture.
      card: the further fields of `metarl.io.artifacts.CARD_FIELDS`, and what else is worth saying.

    Returns:
      The path of the `.safetensors` file.

    Raises:
      ArtifactError: theta does not fit the architecture or is not finite, or a field is missing.
    """
    arrays = _checked(path, config, {name: np.asarray(x) for name, x in theta.items()})
    return save_artifact(path, arrays, {**card, "kind": KIND, "architecture": asdict(config)})


def by_name(name: str | Path) -> Rule:
    """Returns a rule that was written down, or a learned one by its name or path.

    Raises:
      ConfigError: nothing is called so.
      ArtifactError: the file is missing, altered, or not a drift.
    """
    text = str(name)
    if text in WRITTEN_DOWN:
        return WRITTEN_DOWN[text]()
    known = [*WRITTEN_DOWN, *shipped()]
    if not _is_path(name) and text not in known:
        raise ConfigError(
            f"Unknown rule {text!r}.{nearest(text, known)} Permitted: "
            f"{', '.join(known)}, or the path of a {WEIGHTS_SUFFIX} file."
        )
    return load(name).rule


def _is_path(text: str | Path) -> bool:
    suffixed = str(text).endswith((WEIGHTS_SUFFIX, CARD_SUFFIX))
    return isinstance(text, Path) or suffixed or len(Path(text).parts) > 1


def _shipped_paths() -> dict[str, Path]:
    folder = Path(str(files("metarl.rules"))) / "weights"
    return {path.stem: path for path in folder.glob(f"*{WEIGHTS_SUFFIX}")}


def _checked(
    path: str | Path, config: LearnedDriftConfig, arrays: Mapping[str, Any]
) -> dict[str, np.ndarray]:
    return checked_arrays(path, config.shapes, arrays)
