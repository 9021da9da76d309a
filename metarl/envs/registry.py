"""Registry of environments."""

import difflib
from typing import Any

from metarl.core.errors import ConfigError
from metarl.core.options import check_types
from metarl.envs import brax, chains, gridworld, gymnax
from metarl.envs.names import base_name, options_in
from metarl.envs.protocol import Environment

_ADAPTERS = {"gymnax": gymnax, "brax": brax, "grid": gridworld, "chain": chains}


def registered() -> list[str]:
    """Lists the names that `make` accepts; imports no environment library."""
    return [f"{prefix}/{name}" for prefix, adapter in _ADAPTERS.items() for name in adapter.NAMES]


def make(name: str, **options: Any) -> Environment:
    """Makes an environment, unwrapped: no autoreset, no batch.

    Args:
      name: registered name, such as `gymnax/CartPole-v1`, `brax/ant` or `grid/all`, see
        `registered`. It may include options, as in `brax/ant?backend=spring`, see
        `metarl.envs.names`; these are then part of the environment's name.
      **options: options of the environment, see `make` of `metarl.envs.gymnax`, `metarl.envs.brax`,
        `metarl.envs.gridworld` and `metarl.envs.chains`.

    Raises:
      ConfigError: the name or an option is unknown, an option has the wrong type or is given twice,
        or a dependency is missing.
    """
    base, parsed = base_name(name), options_in(name)
    if base not in registered():
        raise ConfigError(
            f"Unknown environment {base!r}.{_suggest(base)} Permitted: {', '.join(registered())}."
        )
    if twice := sorted(parsed.keys() & options):
        raise ConfigError(f"{name!r} has option {twice[0]!r}, which is given beside it too.")
    options |= parsed
    prefix, own_name = base.split("/", 1)
    adapter = _ADAPTERS[prefix]
    check_types(base, options, adapter.make)
    env = adapter.make(own_name, **options)
    return env.replace(name=name) if parsed else env


def _suggest(name: str) -> str:
    """Returns a suggestion; compares names without their prefix, which may be missing or wrong."""
    own_names = {full.split("/", 1)[1].lower() for full in registered()}
    close = difflib.get_close_matches(name.split("/")[-1].lower(), own_names, n=1, cutoff=0.5)
    if not close:
        return ""
    # Two prefixes may share an own name.
    sharing = [full for full in registered() if full.split("/", 1)[1].lower() == close[0]]
    best = max(sharing, key=lambda full: difflib.SequenceMatcher(None, full, name).ratio())
    return f" Did you mean {best!r}?"
