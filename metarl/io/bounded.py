"""Files of others, of which no more is read than they can rightly hold."""

from pathlib import Path

from metarl.core.errors import ArtifactError


def read_at_most(path: Path, limit: int, content: str, rightly: str) -> bytes:
    """Reads a whole file.

    Args:
      path: of the file.
      limit: most bytes it may have.
      content: what is in it, such as `the weights`.
      rightly: what has no more bytes, such as `any weights of OPEN`.

    Raises:
      ArtifactError: it cannot be read, or is larger.
    """
    try:
        with path.open("rb") as file:
            data = file.read(limit + 1)
    except OSError as error:
        raise ArtifactError(f"Cannot read {content} {path}: {error.strerror}.") from None
    if len(data) > limit:
        raise ArtifactError(f"{path} is larger than {rightly}.")
    return data
