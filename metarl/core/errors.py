"""Exceptions of the library, and validation that raises them before any compilation."""

import difflib
import math
from collections.abc import Iterable


class MetarlError(Exception):
    """Base class of all errors that metarl raises; the command line prints them in one line."""


class ConfigError(MetarlError, ValueError):
    """A setting is unknown or out of range."""


class UsageError(ConfigError):
    """A command line has an unknown setting, or a value that is not of the setting's type."""


class RunError(MetarlError):
    """A run directory is locked, unreadable, unwritable or incomplete."""


class CheckpointError(RunError):
    """A checkpoint is missing, truncated or altered."""


class ArtifactError(MetarlError, ValueError):
    """A saved artifact is missing, altered, or of another kind than expected."""


def nearest(name: str, permitted: Iterable[str]) -> str:
    """Returns `" Did you mean 'x'?"` for the closest permitted name, or an empty string."""
    permitted = list(permitted)
    lowered = {entry.lower(): entry for entry in permitted}
    close = difflib.get_close_matches(str(name).lower(), lowered, n=1, cutoff=0.5)
    return f" Did you mean {lowered[close[0]]!r}?" if close else ""


def check_choice(what: str, name: str, permitted: Iterable[str]) -> str:
    """Returns `name` if it is permitted.

    Raises:
      ConfigError: `name` is not permitted; the message gives the nearest and all permitted names.
    """
    permitted = sorted(permitted)
    if name in permitted:
        return name
    raise ConfigError(
        f"Unknown {what} {name!r}.{nearest(name, permitted)} Permitted: {', '.join(permitted)}."
    )


def check_positive(**values: float | int | None) -> None:
    """Raises ConfigError unless every value is finite and above zero (`None` means unset)."""
    for name, value in values.items():
        if value is not None and not (math.isfinite(value) and value > 0):
            raise ConfigError(f"{name} must be positive and finite, got {value}.")


def check_range(low: float, high: float, **values: float | int | None) -> None:
    """Raises ConfigError unless every value lies in `[low, high]` (`None` means unset)."""
    for name, value in values.items():
        if value is not None and not low <= value <= high:
            raise ConfigError(f"{name} must lie in [{low}, {high}], got {value}.")
