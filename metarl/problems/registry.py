"""Problems by name: the packages of `metarl.problems`, and those of the entry points.

A package of another distribution registers with

    [project.entry-points."metarl.problems"]
    my_problem = "my_package.problem:PROBLEM"

where `PROBLEM` is a `metarl.problems.protocol.ProblemKind`.
"""

import importlib
import pkgutil
from functools import lru_cache
from importlib.metadata import entry_points

import metarl.problems
from metarl.core.errors import ConfigError
from metarl.evaluation import style
from metarl.problems.config import RunConfig
from metarl.problems.protocol import ProblemKind

ENTRY_POINTS = "metarl.problems"


@lru_cache(maxsize=1)
def kinds() -> dict[str, ProblemKind]:
    """Every registered kind of problem, by name; labels of their baselines are registered too.

    Raises:
      ConfigError: an entry point is not a `ProblemKind`, or two kinds have one name.
    """
    found: dict[str, ProblemKind] = {}
    for kind in [*_own(), *_foreign()]:
        if kind.name in found:
            raise ConfigError(f"Two packages register a problem {kind.name!r}.")
        found[kind.name] = kind
        style.register_baselines(kind.labels)
    return found


def kind_of(config: RunConfig) -> ProblemKind:
    """The kind of problem that a config is of.

    Raises:
      ConfigError: no registered kind has configs of this class.
    """
    for kind in kinds().values():
        if type(config) is kind.config:
            return kind
    raise ConfigError(
        f"No problem has configs of the class {type(config).__name__}. Registered: "
        f"{', '.join(f'{name} ({kind.config.__name__})' for name, kind in kinds().items())}."
    )


def _own() -> list[ProblemKind]:
    packages = (m.name for m in pkgutil.iter_modules(metarl.problems.__path__) if m.ispkg)
    modules = (importlib.import_module(f"metarl.problems.{name}.problem") for name in packages)
    return [module.PROBLEM for module in modules]


def _foreign() -> list[ProblemKind]:
    found = []
    for entry in entry_points(group=ENTRY_POINTS):
        kind = entry.load()
        if not isinstance(kind, ProblemKind):
            raise ConfigError(f"The entry point {entry.value} is no ProblemKind, but {kind!r}.")
        found.append(kind)
    return found
