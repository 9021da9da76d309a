"""Algorithms by the names that `metarl eval` takes, over all registered problems."""

from collections.abc import Callable, Mapping

from metarl.core.errors import ConfigError, nearest
from metarl.envs.protocol import Environment
from metarl.evaluation.candidates import Candidate
from metarl.io.artifacts import CARD_SUFFIX, WEIGHTS_SUFFIX, load_artifact
from metarl.problems import registry
from metarl.problems.algorithms import AgentNames, Algorithm, Settings


def sources() -> list[AgentNames]:
    """What each registered problem contributes."""
    return [kind.agents for kind in registry.kinds().values() if kind.agents is not None]


def handcrafted() -> dict[str, Callable[[], Algorithm]]:
    """Algorithms without weights, by name."""
    return {name: make for source in sources() for name, make in source.handcrafted.items()}


def external() -> dict[str, Callable[[str], Algorithm]]:
    """Loaders of weights that others released, by the prefix in `prefix:path`."""
    return {name: load for source in sources() for name, load in source.external.items()}


def names() -> list[str]:
    """Names that need no path."""
    return [*handcrafted(), *(name for source in sources() for name in source.pretrained())]


def by_name(name: str) -> Algorithm:
    """Finds an algorithm.

    Args:
      name: handcrafted or pretrained algorithm; path of an artifact; or `prefix:path`, weights that
        others released, see `external`. An optimizer is applied to PPO.

    Raises:
      ConfigError: the name is unknown.
      ArtifactError: the file is missing, altered, or of an unknown kind.
    """
    prefix, colon, path = name.partition(":")
    if colon and prefix in external():
        return external()[prefix](path)
    if name in handcrafted():
        return handcrafted()[name]()
    if name.endswith((WEIGHTS_SUFFIX, CARD_SUFFIX)):
        return _source_of_kind(name).load(name)
    for source in sources():
        if name in source.pretrained():
            return source.load(name)
    prefixes = ", ".join(f"{entry}:PATH" for entry in external())
    raise ConfigError(
        f"Unknown rule {name!r}.{nearest(name, names())} Permitted: {', '.join(names())}, "
        f"{prefixes}, or the path of a {WEIGHTS_SUFFIX} file."
    )


def _source_of_kind(path: str) -> AgentNames:
    """The source that loads artifacts of the card's kind; the first one reports other kinds."""
    kind = load_artifact(path).card.get("kind")
    return next((source for source in sources() if source.kind == kind), sources()[0])


def make_agents(
    env: Environment, algorithms: Mapping[str, Algorithm], settings: Mapping[str, Settings]
) -> dict[str, Candidate]:
    """Makes agents of every algorithm for an environment, in the order given.

    Args:
      env: unbatched environment, without autoreset.
      algorithms: name -> algorithm.
      settings: name -> settings of its agents.
    """
    by_class: dict[type[Algorithm], dict[str, Algorithm]] = {}
    for name, algorithm in algorithms.items():
        by_class.setdefault(type(algorithm), {})[name] = algorithm
    found: dict[str, Candidate] = {}
    for kind, group in by_class.items():
        found |= kind.agents(env, group, settings)
    return {name: found[name] for name in algorithms}
