"""Parsing of environment names with options, for the command line and configs.

The syntax is a registered name, `?`, and options separated by `&`, such as
`brax/ant?backend=spring&episode_length=200&vary=gravity,`. A value is `true`, `false`, a number, or
text; commas make a tuple, with an optional trailing comma.
"""

import math
from typing import Any

from metarl.core.errors import ConfigError


def base_name(name: str) -> str:
    """Returns the registered name, without options."""
    return name.partition("?")[0]


def options_in(name: str) -> dict[str, Any]:
    """Returns the options in a name.

    Raises:
      ConfigError: an option has no value, or is given twice.
    """
    _, mark, text = name.partition("?")
    options: dict[str, Any] = {}
    for part in text.split("&") if mark else ():
        option, _, value = part.partition("=")
        if not option or not value:
            raise ConfigError(
                f"{name!r} has {part!r} where an option and its value belong, such as "
                f"{base_name(name)}?option=value&another=value."
            )
        if option in options:
            raise ConfigError(f"{name!r} has option {option!r} twice.")
        options[option] = _value(value)
    return options


def _value(text: str) -> Any:
    if "," in text:
        return tuple(_value(entry) for entry in text.removesuffix(",").split(","))
    if text in ("true", "false"):
        return text == "true"
    for number in (int, float):
        try:
            value = number(text)
        except ValueError:
            continue
        return value if math.isfinite(value) else text
    return text
