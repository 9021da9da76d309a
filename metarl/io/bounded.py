"""Size-limited reading of third-party files."""

from pathlib import Path

from metarl.core.errors import ArtifactError


def read_at_most(path: Path, limit: int, content: str, rightly: str) -> bytes:
    """Reads a whole file.

    Args:
      path: path of the file.
      limit: maximum size in bytes.
      content: description of the content for errors, such as `the weights`.
      rightly: description of the largest valid file for errors, such as `any weights of OPEN`.

    Raises:
      ArtifactError: the file cannot be read, or is larger than `limit`.
    """
    try:
        with path.open("rb") as file:
            data = file.read(limit + 1)
    except OSError as error:
        raise ArtifactError(f"Cannot read {content} {path}: {error.strerror}.") from None
    if len(data) > limit:
        raise ArtifactError(f"{path} is larger than {rightly}.")
    return data
