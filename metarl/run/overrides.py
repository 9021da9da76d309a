"""`--section.field value` overrides of a config, and errors about them in plain lines."""

import contextlib
import io
import re
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any, TypeVar

import tyro

from metarl.core.errors import UsageError, nearest

T = TypeVar("T")

_RENAMED = (
    ("look-every", "log-every"),
    ("strategy", "optimizer"),
    (r"lives\.lives", "unrolls.num-parallel"),
    ("lives", "num-parallel"),
    ("lives", "unrolls"),
)
"""Former words of settings and what stands in their place."""

_COLORS = re.compile(r"\x1b\[[0-9;]*m")


def with_overrides(
    prog: str, default: T, overrides: Sequence[str], options: Iterable[str] = (), hint: str = ""
) -> T:
    """Returns `default` with the settings of a command line.

    Args:
      prog: command, for `--help`.
      default: config dataclass.
      overrides: such as `["--outer.generations", "3"]`.
      options: further options of the command, to be named where one is misspelt.
      hint: end of the message about an unknown setting.

    Raises:
      UsageError: an unknown setting (names the nearest), or a value of the wrong type.
      ConfigError: a value that the config refuses.
      SystemExit: `--help` was among the overrides.
    """
    printed = io.StringIO()
    try:
        # tyro prints its errors in a frame and exits.
        with contextlib.redirect_stderr(printed):
            config, unknown = tyro.cli(
                type(default),
                prog=prog,
                default=default,
                args=list(overrides),
                return_unknown_args=True,
            )
    except SystemExit as stop:
        if not stop.code:
            raise
        raise UsageError(_unframed(printed.getvalue())) from None
    sys.stderr.write(printed.getvalue())
    if unknown:
        raise UsageError(_about_unknown(unknown, [*flags(default), *options]) + hint)
    return config


def flags(config: Any) -> list[str]:
    """Lists the settings of a config as the command line spells them."""
    return [f"--{name}" for name in flat(asdict(config))]


def flat(data: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Returns nested dicts as one, with keys such as `outer.learning-rate`."""
    found: dict[str, Any] = {}
    for key, value in data.items():
        name = f"{prefix}{key}".replace("_", "-")
        found |= flat(value, f"{name}.") if isinstance(value, dict) else {name: value}
    return found


def _about_unknown(unknown: Sequence[str], permitted: Sequence[str]) -> str:
    name = next((word for word in unknown if word.startswith("-")), None)
    if name is None:
        return f"Unexpected argument {unknown[0]!r}."
    name = name.partition("=")[0]
    if renamed := _renamed(name.replace("_", "-"), permitted):
        return f"The setting {name!r} is called {renamed!r} now."
    return f"Unknown setting {name!r}.{nearest(name.replace('_', '-'), permitted)}"


def _renamed(name: str, permitted: Sequence[str]) -> str | None:
    """The present name of a setting of an earlier version; None = it never had another name."""
    candidates = (re.sub(rf"\b{old}\b", new, name) for old, new in _RENAMED)
    return next((new for new in candidates if new != name and new in permitted), None)


def _unframed(text: str) -> str:
    """Returns the message of a framed text as one line.

    The title is part of the frame, or a paragraph before it where the terminal has no Unicode; the
    message is the first paragraph after it.
    """
    text = _COLORS.sub("", text)
    titled = text.lstrip().startswith("╭")
    paragraphs: list[list[str]] = [[]]
    for line in text.splitlines():
        inside = "" if line.startswith(("╭", "╰")) else line.strip("│ ")
        if set(inside) - set("─-"):
            paragraphs[-1].append(inside)
        elif paragraphs[-1]:
            paragraphs.append([])
    found = [" ".join(lines) for lines in paragraphs if lines]
    return (found if titled else found[1:] or found)[0] if found else text.strip()
