"""Envelopes on disk: of the library, made by `metarl envelope`, or published by Google."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from metarl.core.errors import ArtifactError, ConfigError, check_choice
from metarl.io import strict_json
from metarl.io.atomic import atomic_write_text
from metarl.io.bounded import read_at_most
from metarl.problems.optimizer.envelope import Envelope

FORMAT = "metarl-envelopes/1"
_FOLDER = Path(__file__).parent / "envelopes"
_MOST_BYTES = 1 << 26


@dataclass(frozen=True)
class StoredEnvelopes:
    """Envelopes of tasks of one family, and how they were made.

    Attributes:
      family: name of the family of tasks.
      seed: of the tasks: `metarl score --seed` with the same draws the same ones.
      envelopes: one a task, over updates and raw training losses.
      made: baselines, rates, seeds, versions and whatever else tells where they come from.
    """

    family: str
    seed: int
    envelopes: tuple[Envelope, ...]
    made: Mapping[str, Any] = field(default_factory=dict)

    def for_tasks(self, family: str, seed: int, tasks: int, alike: bool) -> list[Envelope]:
        """One envelope for each of the tasks that are about to be trained on.

        Args:
          family: of the tasks.
          seed: by which they are drawn.
          tasks: how many.
          alike: whether all tasks of the family are the same one.

        Raises:
          ConfigError: these are envelopes of other tasks.
        """
        if family != self.family:
            raise ConfigError(f"The envelopes are those of {self.family!r}, not of {family!r}.")
        if alike:
            return [self.envelopes[0]] * tasks
        if seed != self.seed or tasks != len(self.envelopes):
            raise ConfigError(
                f"Tasks of {family} differ, and the envelopes are those of {len(self.envelopes)} "
                f"tasks of seed {self.seed}, not of {tasks} of seed {seed}."
            )
        return list(self.envelopes)


def save_envelopes(path: str | Path, stored: StoredEnvelopes) -> None:
    """Writes envelopes to one small JSON file, atomically."""
    content = {
        "format": FORMAT,
        "family": stored.family,
        "seed": stored.seed,
        "made": dict(stored.made),
        "envelopes": [envelope.to_json() for envelope in stored.envelopes],
    }
    atomic_write_text(Path(path), strict_json.canonical(content) + "\n")


def names() -> list[str]:
    """Names of the envelopes that come with the library."""
    return sorted(path.stem for path in _FOLDER.glob("*.json"))


def load_envelopes(name: str | Path) -> StoredEnvelopes:
    """Reads envelopes.

    Args:
      name: one of `names`, or the path of a `.json` file.

    Raises:
      ConfigError: nothing is called so.
      ArtifactError: the file is missing, damaged or something else.
    """
    path = Path(name)
    if path.suffix != ".json":
        path = _FOLDER / f"{check_choice('envelope', str(name), names())}.json"
    content = _read(path)
    try:
        if content["format"] != FORMAT:
            raise ArtifactError(f"{path} has format {content['format']!r}, not {FORMAT!r}.")
        envelopes = tuple(Envelope(x["steps"], x["losses"]) for x in content["envelopes"])
        stored = StoredEnvelopes(content["family"], content["seed"], envelopes, content["made"])
    except (KeyError, TypeError, ConfigError) as error:
        raise ArtifactError(f"{path} does not hold envelopes: {error}") from error
    if not envelopes:
        raise ArtifactError(f"{path} holds no envelope.")
    return stored


def load_published(path: str | Path) -> dict[str, Envelope]:
    """Reads the envelopes that Google published, by the name of the task.

    The file `speedup_over_multiple_baselines.json` of google/learned_optimization (Apache-2.0):
    per task 512 knots over 100k updates, of Adam with and without decay and RAdam, 15 learning
    rates and 5 seeds each. It is not part of this library.

    Raises:
      ArtifactError: the file is missing, damaged or something else.
    """
    content = _read(Path(path))
    try:
        return {name: Envelope(steps, losses) for name, (steps, losses) in content.items()}
    except (TypeError, ValueError) as error:  # a ConfigError is a ValueError
        raise ArtifactError(f"{path} does not hold published envelopes: {error}") from error


def _read(path: Path) -> dict[str, Any]:
    data = read_at_most(path, _MOST_BYTES, "the envelopes", "any file of envelopes")
    try:
        content = strict_json.parse(data)
    except (ValueError, RecursionError) as error:
        raise ArtifactError(f"{path} is no JSON: {error}") from None
    if not isinstance(content, dict):
        raise ArtifactError(f"{path} does not hold envelopes: it is no JSON object.")
    return content
