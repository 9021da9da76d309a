"""Experiments by name: the modules of `metarl.experiments`, entry points, `module:attribute`.

A package of another distribution registers an `Experiment` with

    [project.entry-points."metarl.experiments"]
    my-experiment = "my_package.experiment:EXPERIMENT"
"""

import importlib
import pkgutil
import shlex
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from importlib.metadata import EntryPoint, entry_points
from typing import Any

import cattrs
from cattrs.v import format_exception

from metarl.core.errors import ConfigError, RunError, check_choice
from metarl.io.runs import RunDirectory
from metarl.io.strict_json import plain
from metarl.problems.config import RunConfig
from metarl.run.overrides import flat, with_overrides


@dataclass(frozen=True)
class Experiment:
    """A named set of configs.

    Attributes:
      name: as the command line spells it.
      description: one line.
      presets: configs by name.
      default: the preset that runs when none is named.
    """

    name: str
    description: str
    presets: dict[str, RunConfig]
    default: str

    @property
    def kind(self) -> type:
        """The class of its configs."""
        return type(self.presets[self.default])


ENTRY_POINTS = "metarl.experiments"


def names() -> list[str]:
    """Lists the experiments, those of other packages included."""
    return sorted({*_own(), *(entry.name for entry in entry_points(group=ENTRY_POINTS))})


def load(name: str) -> Experiment:
    """Loads an experiment.

    Args:
      name: one of `names`, or `module:attribute` of an `Experiment`.

    Raises:
      ConfigError: the name is unknown, or what it refers to is not an `Experiment`.
    """
    if ":" in name:
        return replace(_checked(name, EntryPoint(name, name, ENTRY_POINTS)), name=name)
    check_choice("experiment", name, names())
    if name in _own():
        module = importlib.import_module(f"metarl.experiments.{name.replace('-', '_')}")
        return Experiment(name, module.DESCRIPTION, dict(module.PRESETS), module.DEFAULT)
    (entry,) = entry_points(group=ENTRY_POINTS, name=name)
    return replace(_checked(name, entry), name=name)


def _own() -> list[str]:
    package = importlib.import_module("metarl.experiments")
    found = (module.name for module in pkgutil.iter_modules(package.__path__))
    return [name.replace("_", "-") for name in found if not name.startswith("_")]


def _checked(name: str, entry: EntryPoint) -> Experiment:
    try:
        found = entry.load()
    except (ImportError, AttributeError) as error:
        raise ConfigError(f"The experiment {name!r} cannot be imported: {error}.") from error
    if not isinstance(found, Experiment):
        raise ConfigError(f"{name!r} is no metarl.run.experiments.Experiment, but {found!r}.")
    return found


def configure(
    experiment: Experiment, preset: str | None, overrides: list[str], options: Iterable[str] = ()
) -> RunConfig:
    """Applies `--section.field value` overrides to a preset.

    Args:
      experiment: which.
      preset: name of the preset; None = the default one.
      overrides: such as `["--outer.generations", "3"]`.
      options: further options of the command, to be named where one is misspelt.

    Raises:
      ConfigError: an unknown preset, a misspelt setting (names the nearest), or a value that a
        config refuses.
    """
    name = preset or experiment.default
    check_choice(f"preset of {experiment.name}", name, experiment.presets)
    command = f"metarl run {experiment.name}"
    hint = f" Every setting: {command} --settings"
    return with_overrides(command, experiment.presets[name], overrides, options, hint)


def to_json(config: RunConfig) -> dict[str, Any]:
    """Returns the config as nested dicts of JSON values."""
    return asdict(config)


def from_json(data: dict[str, Any], kind: type) -> RunConfig:
    """Reads what `to_json` made of a config of this kind.

    Raises:
      RunError: a field is unknown, missing or of the wrong type (another version wrote it).
    """
    try:
        config: RunConfig = cattrs.Converter(forbid_extra_keys=True).structure(data, kind)
    except cattrs.BaseValidationError as error:
        raise _unreadable(cattrs.transform_error(error, format_exception=_describe)) from error
    # cattrs fills in what is missing and converts what is not of the type.
    found, understood = flat(plain(data)), flat(plain(to_json(config)))
    missing = [f"it has no {name}" for name in understood if name not in found]
    changed = [
        f"{name} is {found[name]!r}, which was read as {value!r}"
        for name, value in understood.items()
        if name in found and found[name] != value
    ]
    if missing or changed:
        raise _unreadable(missing + changed)
    return config


def read(run: RunDirectory) -> RunConfig:
    """Reads the config of a run.

    Raises:
      ConfigError: there is no experiment of the run's name.
      RunError: see `from_json`.
    """
    return from_json(run.config, load(run.experiment).kind)


def _unreadable(problems: list[str]) -> RunError:
    return RunError(f"The run's config cannot be read by this version: {'; '.join(problems)}.")


def _describe(error: BaseException, kind: type | None) -> str:
    """Keeps the words of our own errors, which cattrs would replace by its own."""
    return (
        str(error).rstrip(".") if isinstance(error, ConfigError) else format_exception(error, kind)
    )


def command_line(experiment: Experiment, config: RunConfig) -> str:
    """The shortest `metarl run` command that gives this config: a preset and its overrides."""
    wanted = flat(to_json(config))
    candidates = []
    for name, preset in experiment.presets.items():
        own = flat(to_json(preset))
        changed = {key: value for key, value in wanted.items() if own.get(key) != value}
        candidates.append((len(changed), name != experiment.default, name, changed))
    _, _, name, changed = min(candidates, key=lambda entry: entry[:3])
    words = ["metarl run", experiment.name]
    if name != experiment.default:
        words.append(f"--preset {name}")
    return " ".join([*words, *(_override(key, value) for key, value in changed.items())])


def _override(key: str, value: Any) -> str:
    if isinstance(value, bool):
        section, _, name = key.rpartition(".")
        return f"--{key}" if value else "--" + f"{section}.no-{name}".lstrip(".")
    values = value if isinstance(value, list | tuple) else [value]
    return shlex.join([f"--{key}", *map(str, values)])
