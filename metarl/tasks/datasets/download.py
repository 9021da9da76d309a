"""Downloaded files: cached in a folder, with checksums verified at every read."""

import hashlib
import http.client
import os
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from metarl.core.errors import ArtifactError
from metarl.io.atomic import atomic_write_bytes, describing_os_errors

FOLDER_VARIABLE = "METARL_DATA"
"""Environment variable that names the folder for downloaded data."""

_TIMEOUT = 60.0
"""Timeout of a download in seconds without data."""


@dataclass(frozen=True)
class RemoteFile:
    """A published file.

    Attributes:
      name: path of the file, relative to the data folder.
      urls: addresses of the file, tried in order.
      md5: published MD5 checksum, hexadecimal. It detects damage and other versions; it is no
        protection against forgery, which a parser of plain bytes does not need.
    """

    name: str
    urls: tuple[str, ...]
    md5: str


def data_folder() -> Path:
    """Returns the folder for downloaded data: `$METARL_DATA`, or `~/.cache/metarl`."""
    chosen = os.environ.get(FOLDER_VARIABLE)
    return Path(chosen).expanduser() if chosen else Path.home() / ".cache" / "metarl"


def fetch(file: RemoteFile, folder: Path | None = None) -> bytes:
    """Returns the bytes of a file, downloaded if the folder does not have it.

    Args:
      file: file to read.
      folder: data folder; None = `data_folder()`.

    Raises:
      ArtifactError: the file cannot be downloaded, or is not the published file.
      RunError: the folder cannot be read or written.
    """
    path = (folder or data_folder()) / file.name
    with describing_os_errors("look for data", path):
        present = path.is_file()
    if present:
        with describing_os_errors(f"read {path.name}", path):
            content = path.read_bytes()
        if (found := _md5(content)) != file.md5:
            raise ArtifactError(
                f"{path} is damaged or another edition: its MD5 is {found}, published is "
                f"{file.md5}. Delete it, so that it is downloaded again from {file.urls[0]}."
            )
        return content
    content = _download(file, path)
    with describing_os_errors("make the folder", path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
    atomic_write_bytes(path, content)
    return content


def _download(file: RemoteFile, path: Path) -> bytes:
    failures = []
    for url in file.urls:
        try:
            with urllib.request.urlopen(url, timeout=_TIMEOUT) as response:
                content = response.read()
        # Socket and HTTP errors of urllib are OSErrors, except for malformed replies.
        except (OSError, ValueError, http.client.HTTPException) as error:
            failures.append(f"{url}: {error}")
            continue
        if (found := _md5(content)) == file.md5:
            return content
        failures.append(f"{url}: its MD5 is {found}, published is {file.md5}")
    raise ArtifactError(
        f"Cannot download {file.name} ({'; '.join(failures)}). Download it by other means from "
        f"{file.urls[0]} and put it at {path}, or set {FOLDER_VARIABLE} to a folder that has it."
    )


def _md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()
