"""Files that the command line names as outputs."""

from pathlib import Path

from metarl.core.errors import RunError


def check_folder(option: str, file: str | None) -> None:
    """Refuses a file whose folder is not there, before any work.

    Raises:
      RunError: there is no such folder.
    """
    if file and not Path(file).absolute().parent.is_dir():
        raise RunError(f"{option} {file}: there is no folder {Path(file).parent}.")
