"""Checkpoints of a run: written by orbax, verified by digest, safe against a kill at any time.

A checkpoint is the folder `<step>`. It is written under another name and renamed when all of it is
on disk, and renamed again before its files are deleted. So a folder whose name is a number is
complete, and one with a suffix is left over from a kill: readers ignore it, the next save removes
it. Hashes detect later damage of a complete checkpoint.
"""

import contextlib
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from metarl.core.errors import CheckpointError, RunError, check_positive
from metarl.core.types import PyTree
from metarl.io import leaves, orbax_folder, strict_json
from metarl.io.atomic import advice_for, describe, describing_os_errors
from metarl.io.orbax_folder import Content, DamageError

_DELETING = ".deleting"


class Restored(NamedTuple):
    """A verified checkpoint.

    Attributes:
      step: step of the checkpoint.
      state: saved tree, bit for bit: NumPy arrays, typed PRNG keys, Python numbers.
      meta: dictionary that was saved with the state.
      skipped: messages about newer checkpoints that are damaged.
    """

    step: int
    state: PyTree
    meta: dict[str, Any]
    skipped: list[str]


@dataclass(frozen=True)
class Checkpoints:
    """The checkpoints in one folder. One process may write them, under the lock of the run.

    Attributes:
      folder: folder of the checkpoints; the first save creates it.
      keep: number of newest checkpoints that are kept.
    """

    folder: Path
    keep: int = 3

    def __post_init__(self) -> None:
        check_positive(keep=self.keep)

    def steps(self) -> list[int]:
        """Returns the steps of all complete checkpoints, ascending, without verification."""
        try:
            names = [entry.name for entry in os.scandir(self.folder) if entry.is_dir()]
        except FileNotFoundError:
            return []
        except OSError as error:
            raise RunError(f"Cannot list {self.folder}: {describe(error)}.") from error
        return sorted(int(name) for name in names if _is_step(name))

    def save(self, step: int, state: PyTree, meta: Mapping[str, Any]) -> None:
        """Saves a state to disk and deletes older checkpoints beyond `keep`.

        Saving the same content again at the same step has no effect.

        Args:
          step: number of the step, at least 0.
          state: pytree of arrays, typed PRNG keys, Python numbers and None.
          meta: dictionary to save with the state, convertible to JSON (`strict_json.plain`).

        Raises:
          CheckpointError: this step or a later one is saved with other content, or a leaf cannot
            be saved.
          RunError: the disk is full or not writable; earlier checkpoints remain usable.
        """
        if step < 0:
            raise CheckpointError(f"A checkpoint's step must be at least 0, got {step}.")
        content = Content(*leaves.encode(state), strict_json.plain(dict(meta)))
        if self._is_saved(step, content):
            return
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._clean()
            orbax_folder.write(self._path(step), step, content)
            for old in self.steps()[: -self.keep]:
                self._delete(old)
        except (OSError, CheckpointError) as error:
            with contextlib.suppress(OSError):
                self._clean()
            raise self._cannot_save(step, error) from error

    def latest(self, template: PyTree) -> Restored | None:
        """Restores the newest undamaged checkpoint; returns None if there is no checkpoint.

        Args:
          template: expected structure, shapes and dtypes (arrays or `ShapeDtypeStruct`s).

        Raises:
          CheckpointError: all checkpoints are damaged, or the newest undamaged one has another
            structure than the template; the message names the checkpoints or leaves.
        """
        expected = leaves.describe(template)
        skipped: list[str] = []
        for step in reversed(self.steps()):
            try:
                content = orbax_folder.read(self._path(step), step)
            except DamageError as damage:
                skipped.append(f"checkpoint {step} is truncated or altered: {damage}")
                continue
            try:
                leaves.check_same(content.specs, expected)
            except CheckpointError as error:
                raise CheckpointError(
                    f"Checkpoint {step} in {self.folder} was saved from another state: {error}. "
                    f"Resume with the configuration and version it was made with."
                ) from None
            state = leaves.decode(template, content.specs, content.values)
            return Restored(step, state, strict_json.floats_from_strings(content.meta), skipped)
        if skipped:
            raise CheckpointError(
                f"No checkpoint in {self.folder} can be used: {'; '.join(skipped)}."
            )
        return None

    def delete_after(self, step: int) -> None:
        """Deletes all checkpoints later than `step`, from which a run resumes.

        Raises:
          RunError: the folder cannot be changed.
        """
        with describing_os_errors("delete checkpoints", self.folder):
            # Newest first, so that a kill in between leaves no gap.
            for later in reversed(self.steps()):
                if later > step:
                    self._delete(later)

    def _path(self, step: int) -> Path:
        return self.folder.absolute() / str(step)

    def _delete(self, step: int) -> None:
        doomed = self._path(step).with_name(f"{step}{_DELETING}")
        if doomed.exists():
            shutil.rmtree(doomed)
        os.replace(self._path(step), doomed)
        shutil.rmtree(doomed)

    def _clean(self) -> None:
        for entry in list(os.scandir(self.folder)):
            if entry.name.endswith((_DELETING, orbax_folder.SAVING)):
                shutil.rmtree(entry.path)

    def _is_saved(self, step: int, content: Content) -> bool:
        """Whether exactly this content is saved; raises CheckpointError if a later step is."""
        steps = self.steps()
        if not steps or steps[-1] < step:
            return False
        digest = orbax_folder.content_digest
        with contextlib.suppress(DamageError):
            saved = orbax_folder.read(self._path(step), step)
            if digest(step, saved) == digest(step, content):
                return True
        raise CheckpointError(
            f"{self.folder} holds checkpoint {steps[-1]} already, with other content than what is "
            f"now saved at {step}; a run that goes back deletes the later ones first "
            f"(`delete_after`)."
        )

    def _cannot_save(self, step: int, error: OSError | CheckpointError) -> RunError:
        if isinstance(error, CheckpointError):
            return CheckpointError(f"Cannot save checkpoint {step} in {self.folder}: {error}")
        good = self._newest_good()
        rest = "there is no good one" if good is None else f"the newest good one is {good}"
        return RunError(
            f"Cannot save checkpoint {step} in {self.folder}: {describe(error)}; {rest}. "
            f"{advice_for(error)}"
        )

    def _newest_good(self) -> int | None:
        for step in reversed(self.steps()):
            with contextlib.suppress(DamageError, RunError):
                orbax_folder.read(self._path(step), step)
                return step
        return None


def _is_step(name: str) -> bool:
    return name.isascii() and name.isdigit() and str(int(name)) == name
