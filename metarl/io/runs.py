"""The folder of a run: its files, its writer lock, and how to create and open it.

<root>/<experiment>/<YYYYmmdd-HHMMSS>-<id>/
  run.json  config.json  versions.json     written once; run.json last, it marks a complete run
  metrics.jsonl  checkpoints/  artifacts/  figures/  report.html
  writer.lock  writer.json                 the lock and the process that holds it
"""

import contextlib
import os
import secrets
import socket
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import filelock

from metarl.core.errors import RunError, nearest
from metarl.io import strict_json
from metarl.io.artifacts import config_hash
from metarl.io.atomic import atomic_write_text, describing_os_errors
from metarl.io.checkpoints import Checkpoints
from metarl.io.metrics import MetricsLog
from metarl.io.versions import collect_versions

_FORMAT = 2
_FOLDERS = ("checkpoints", "artifacts", "figures")
_FILES = ("config.json", "versions.json", "run.json", "writer.lock", "writer.json")


@dataclass(frozen=True)
class RunDirectory:
    """One run on disk, returned by `create` or `open`.

    Attributes:
      path: folder of the run.
      experiment: name of the experiment.
      config: configuration of the run, as JSON.
      versions: software and hardware versions at creation.
    """

    path: Path
    experiment: str
    config: dict[str, Any] = field(repr=False)
    versions: dict[str, Any] = field(repr=False)

    @classmethod
    def create(
        cls,
        root: str | Path,
        experiment: str,
        config: Mapping[str, Any],
        out: str | Path | None = None,
    ) -> "RunDirectory":
        """Creates the folder of a new run.

        Args:
          root: folder of all runs.
          experiment: name of the experiment, a folder below `root`.
          config: complete configuration, convertible to JSON.
          out: folder of the run, used instead of a new one below `root`; it must be absent, empty,
            or left by a killed `create`.

        Raises:
          RunError: `out` is a run or holds other files; the disk is full or not writable.
        """
        if out is None:
            path = _make_new_folder(Path(root) / experiment)
        else:
            path = Path(out)
            with describing_os_errors("make the run directory", path):
                path.mkdir(parents=True, exist_ok=True)
            _check_usable(path)
        run = cls(path, experiment, strict_json.plain(dict(config)), collect_versions())
        with run.lock():
            # Checked again under the lock: another process may use the same folder.
            _check_usable(path)
            with describing_os_errors("make the run directory", path):
                for folder in _FOLDERS:
                    (path / folder).mkdir(exist_ok=True)
            atomic_write_text(path / "config.json", strict_json.pretty(run.config))
            atomic_write_text(path / "versions.json", strict_json.pretty(run.versions))
            description = {
                "format": _FORMAT,
                "experiment": experiment,
                "created": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
                "config_hash": config_hash(run.config),
            }
            atomic_write_text(path / "run.json", strict_json.pretty(description))
        return run

    @classmethod
    def open(cls, path: str | Path) -> "RunDirectory":
        """Opens an existing run to resume or read it, without locking it.

        Raises:
          RunError: the folder does not exist, is not a run, or its files are unreadable or altered.
        """
        path = Path(path)
        if not path.is_dir():
            folders = [p.name for p in path.parent.glob("*") if p.is_dir()]
            raise RunError(f"There is no run directory {path}.{nearest(path.name, folders)}")
        if not (path / "run.json").is_file():
            raise RunError(f"{path} is not a run directory: it holds no run.json.")
        description = _read_json(path / "run.json")
        if description.get("format") != _FORMAT or "experiment" not in description:
            raise RunError(
                f"{path / 'run.json'} has format {description.get('format')!r}; this version of "
                f"metarl opens runs of format {_FORMAT}."
            )
        config, versions = _read_json(path / "config.json"), _read_json(path / "versions.json")
        if config_hash(config) != description.get("config_hash"):
            raise RunError(
                f"{path / 'config.json'} was altered since the run was created: its hash is "
                f"{config_hash(config)}, run.json has {description.get('config_hash')}. Undo the "
                f"edit, or start a new run with the changed configuration."
            )
        return cls(path, description["experiment"], config, versions)

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Context manager that holds the writer lock; the kernel releases it if the process dies.

        Raises:
          RunError: another process holds the lock (the message gives its pid), or the folder is not
            writable.
        """
        if not self.path.is_dir():  # filelock would create it
            raise RunError(f"There is no run directory {self.path}.")
        lock = filelock.FileLock(self.path / "writer.lock", blocking=False, is_singleton=False)
        with describing_os_errors("lock the run", self.path):
            try:
                lock.acquire()
            except filelock.Timeout:
                raise RunError(_locked_message(self.path)) from None
        try:
            owner = {"pid": os.getpid(), "host": socket.gethostname()}
            atomic_write_text(self.path / "writer.json", strict_json.pretty(owner))
            yield
        finally:
            lock.release()

    @property
    def metrics(self) -> MetricsLog:
        """Metrics log of the run."""
        return MetricsLog(self.path / "metrics.jsonl")

    @property
    def observations(self) -> MetricsLog:
        """Log of the observations of a problem at every checkpoint; may be absent."""
        return MetricsLog(self.path / "observations.jsonl")

    def checkpoints(self, keep: int = 3) -> Checkpoints:
        """Returns the checkpoints, of which the newest `keep` are kept."""
        return Checkpoints(self.path / "checkpoints", keep)

    @property
    def artifacts(self) -> Path:
        """Folder of the artifacts."""
        return self.path / "artifacts"

    @property
    def figures(self) -> Path:
        """Folder of the figures."""
        return self.path / "figures"

    @property
    def report(self) -> Path:
        """The HTML report."""
        return self.path / "report.html"


def _make_new_folder(parent: Path) -> Path:
    with describing_os_errors("make the run directory", parent):
        parent.mkdir(parents=True, exist_ok=True)
        while True:
            path = parent / f"{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(3)}"
            with contextlib.suppress(FileExistsError):
                path.mkdir()
                return path


def _check_usable(path: Path) -> None:
    """Raises RunError if a folder is a run, or holds files that `create` does not write."""
    if (path / "run.json").exists():
        raise RunError(f"{path} is a run already. To continue it: metarl resume {path}")
    with describing_os_errors("read the run directory", path):
        names = [entry.name for entry in os.scandir(path)]
        foreign = [name for name in names if not _is_ours(name) or _is_filled(path / name)]
    if foreign:
        raise RunError(
            f"{path} is neither empty nor a run: it holds {', '.join(sorted(foreign)[:5])}. Choose "
            f"another folder."
        )


def _is_ours(name: str) -> bool:
    half_written = name.startswith(".") and name.endswith(".tmp")
    return name in (*_FOLDERS, *_FILES) or half_written


def _is_filled(path: Path) -> bool:
    return path.is_dir() and any(path.iterdir())


def _read_json(path: Path) -> dict[str, Any]:
    with describing_os_errors("read the run", path):
        data = path.read_bytes()
    try:
        content = strict_json.parse(data)
    except (ValueError, RecursionError) as error:
        raise RunError(f"{path} is truncated or altered: {error}") from None
    if not isinstance(content, dict):
        raise RunError(f"{path} is altered: it is not a JSON object.")
    return content


def _locked_message(path: Path) -> str:
    try:
        owner = strict_json.parse((path / "writer.json").read_bytes())
        pid, host = owner["pid"], owner["host"]
    except (OSError, ValueError, KeyError, TypeError):
        pid, host = "unknown", socket.gethostname()
    if pid == os.getpid() and host == socket.gethostname():
        return f"The run {path} is locked by this process already."
    place = "" if host == socket.gethostname() else f" on {host}"
    return f"The run {path} is being written by another process (pid {pid}{place})."
