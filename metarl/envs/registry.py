"""Environments by name."""

import difflib
from typing import Any

from metarl.core.errors import ConfigError
from metarl.envs import brax, gymnax
from metarl.envs.protocol import Environment

_ADAPTERS = {"gymnax": gymnax, "brax": brax}


def registered() -> list[str]:
    """Lists every name that `make` knows; imports no environment library."""
    return [f"{prefix}/{name}" for prefix, adapter in _ADAPTERS.items() for name in adapter.NAMES]


def make(name: str, **options: Any) -> Environment:
    """Makes an environment, unwrapped: no autoreset, no batch.

    Args:
      name: such as `gymnax/CartPole-v1` or `brax/ant`; see `registered`.
      **options: of the environment, see `metarl.envs.gymnax.make` and `metarl.envs.brax.make`.

    Raises:
      ConfigError: the name or an option is unknown, or what the environment needs is missing.
    """
    if name not in registered():
        raise ConfigError(
            f"Unknown environment {name!r}.{_suggest(name)} Permitted: {', '.join(registered())}."
        )
    prefix, own_name = name.split("/", 1)
    return _ADAPTERS[prefix].make(own_name, **options)


def _suggest(name: str) -> str:
    """Compares what follows the prefix, so that a missing or wrong prefix does not matter."""
    by_own_name = {full.split("/", 1)[1].lower(): full for full in registered()}
    close = difflib.get_close_matches(name.split("/")[-1].lower(), by_own_name, n=1, cutoff=0.5)
    return f" Did you mean {by_own_name[close[0]]!r}?" if close else ""
