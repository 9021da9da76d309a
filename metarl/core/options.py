"""Validation of the options of a registered name against a function's signature."""

import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from metarl.core.errors import ConfigError, nearest


def check_options(name: str, options: Iterable[str], permitted: Iterable[str]) -> None:
    """Raises ConfigError for the first option that is not permitted for `name`."""
    permitted = sorted(permitted)
    for option in options:
        if option not in permitted:
            raise ConfigError(
                f"Unknown option {option!r} of {name}.{nearest(option, permitted)} "
                f"Permitted: {', '.join(permitted) or 'none'}."
            )


_TYPES: tuple[tuple[type, tuple[type, ...], str], ...] = (
    (bool, (bool,), "true or false"),
    (int, (int,), "a whole number"),
    (float, (int, float), "a number"),
    (str, (str,), "text"),
    (tuple, (tuple, list), "a tuple, in a name written with a comma, even after a single entry"),
)


def check_types(name: str, options: Mapping[str, Any], function: Callable[..., Any]) -> None:
    """Raises ConfigError for an option whose type differs from that of its default.

    Only plain Python values with a default of such a type are checked.
    """
    parameters = inspect.signature(function).parameters
    plain = {bool, int, float, str, tuple, list}
    for option, value in options.items():
        default = parameters[option].default if option in parameters else None
        for kind, permitted, words in _TYPES:
            # Not isinstance: True is an int.
            if type(default) is kind and type(value) in plain - set(permitted):
                raise ConfigError(f"Option {option!r} of {name} must be {words}, got {value!r}.")
