"""The grammar of the command line; imports neither jax nor what the commands do.

A command names the function that runs it (`function`) and, if it measures something, the generator
of results by which a claim is measured again (`results`), both as `module:attribute`.
"""

import argparse
import importlib
import pkgutil
from collections.abc import Sequence
from importlib.metadata import entry_points
from importlib.util import find_spec
from typing import Any, NoReturn

import metarl
import metarl.problems
from metarl.core.errors import nearest

ENTRY_POINTS = "metarl.commands"
"""Group of entry points `module:function`, each of which adds commands as `add_commands` does."""

SETTINGS_HINT = "--section.field value"


class _Parser(argparse.ArgumentParser):
    """A parser whose errors name the nearest of what is permitted."""

    def verbs(self) -> dict[str, "_Parser"]:
        """Returns the parsers of what may follow, by its name."""
        found = (x.choices for x in self._actions if isinstance(x, argparse._SubParsersAction))
        return dict(next(found, {}))

    def flags(self) -> list[str]:
        """Lists the options of this command and of all that may follow."""
        below = [flag for parser in self.verbs().values() for flag in parser.flags()]
        return [*self._option_string_actions, *below]

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is not None and value not in action.choices:
            permitted = list(action.choices)
            raise argparse.ArgumentError(
                None,
                f"unknown {str(action.metavar or action.dest).lower()} {value!r}."
                f"{nearest(value, permitted)} Permitted: {', '.join(permitted)}.",
            )


class _Version(argparse.Action):
    """`--version`: that of the installed package, read only when it is asked for."""

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> NoReturn:
        print(f"metarl {metarl.__version__}")
        parser.exit()


def parse(arguments: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
    """Splits a command line into options and `--section.field value` overrides.

    Returns:
      The options, of which `flags` lists the options that the command has, and the overrides.

    Raises:
      SystemExit: it is not understood; the last line of the message says why.
    """
    parser = command_parser()
    options, overrides = parser.parse_known_args(list(arguments))
    verb = parser.verbs()[options.command] if options.command else parser
    options.flags = verb.flags()
    if overrides and not options.takes_overrides:
        word = next((word for word in overrides if word.startswith("-")), overrides[0])
        verb.error(f"unrecognized arguments: {' '.join(overrides)}.{nearest(word, options.flags)}")
    return options, overrides


def command_parser() -> _Parser:
    """Makes the parser of all commands."""
    parser = _Parser(
        prog="metarl", description="Meta-learn learning algorithms, and use what was learned."
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version and stop")
    verbs = parser.add_subparsers(dest="command", metavar="COMMAND")
    parser.set_defaults(takes_overrides=False, results=None)
    verbs.add_parser("list", help="experiments, environments, rules and claims").set_defaults(
        function="metarl.run.commands:list_everything"
    )
    _add_run(verbs)
    resume = verbs.add_parser("resume", help="go on with a run that was interrupted")
    resume.add_argument("run", metavar="RUN", help="its directory")
    resume.set_defaults(function="metarl.run.commands:resume")
    _add_cost(verbs)
    _add_eval(verbs)
    _add_commands_of_problems(verbs)
    report = verbs.add_parser("report", help="write a run's report again, from what it has")
    report.add_argument("run", metavar="RUN", help="its directory")
    report.set_defaults(function="metarl.run.commands:report")
    _add_claims(verbs)
    return parser


def _add_commands_of_problems(verbs: argparse._SubParsersAction) -> None:
    """Adds what `cli.py` of each problem's package, and the entry points, contribute."""
    for module in pkgutil.iter_modules(metarl.problems.__path__):
        name = f"metarl.problems.{module.name}.cli"
        if module.ispkg and find_spec(name):
            importlib.import_module(name).add_commands(verbs)
    for entry in entry_points(group=ENTRY_POINTS):
        entry.load()(verbs)


def _add_run(verbs: argparse._SubParsersAction) -> None:
    run = verbs.add_parser(
        "run",
        help="run an experiment",
        usage=f"metarl run EXPERIMENT [--preset NAME] [--out DIR] [{SETTINGS_HINT} ...]",
        epilog="Every setting: metarl run EXPERIMENT --settings",
        allow_abbrev=False,
    )
    run.add_argument("experiment", metavar="EXPERIMENT", help="see `metarl list`")
    run.add_argument("--preset", metavar="NAME", help="a named config of the experiment")
    run.add_argument("--out", metavar="DIR", help="exactly this run directory")
    run.add_argument("--runs", metavar="DIR", default="runs", help="root of all runs (./runs)")
    run.add_argument("--settings", action="store_true", help="list every setting and stop")
    run.set_defaults(takes_overrides=True, function="metarl.run.commands:run_experiment")


def _add_cost(verbs: argparse._SubParsersAction) -> None:
    cost = verbs.add_parser(
        "cost",
        help="compile an experiment without running it: memory, size, time to compile",
        usage=f"metarl cost EXPERIMENT [--preset NAME] [--horizons X ...] [{SETTINGS_HINT} ...]",
        allow_abbrev=False,
    )
    cost.add_argument("experiment", metavar="EXPERIMENT", help="see `metarl list`")
    cost.add_argument("--preset", metavar="NAME", help="a named config of the experiment")
    cost.add_argument(
        "--horizons", type=float, nargs="+", default=[1.0], help="multiples of the lifetime (1)"
    )
    cost.add_argument("--json", metavar="FILE", help="write the results there")
    cost.set_defaults(
        takes_overrides=True, function="metarl.run.cost:command", results="metarl.run.cost:costs"
    )


def _add_eval(verbs: argparse._SubParsersAction) -> None:
    evaluate = verbs.add_parser(
        "eval",
        help="train agents with rules and compare them",
        usage="metarl eval RULE [RULE ...] --env ENV [--env ENV ...] [--seeds N] [--steps N] "
        "[--horizons X ...] "
        "[--tune RATE ...] [--json FILE] [--learner.field value ...] [--agent.field value ...]",
        epilog="RULE is ppo, dpo, mdpo, none, a2c, the name of a pretrained rule or optimizer, a "
        ".safetensors file, or weights that others released, such as open:PATH or disco:PATH. "
        "An optimizer moves the networks of PPO.",
        allow_abbrev=False,
    )
    evaluate.add_argument("rules", metavar="RULE", nargs="+", help="rules to compare")
    evaluate.add_argument("--env", action="append", required=True, help="environment; repeatable")
    evaluate.add_argument("--seeds", type=int, default=16, help="agents a rule (16)")
    evaluate.add_argument("--steps", type=int, help="environment steps of each agent")
    evaluate.add_argument(
        "--horizons", type=float, nargs="+", default=[1.0], help="multiples of the lifetime (1)"
    )
    evaluate.add_argument("--seed", type=int, default=0, help="of all random numbers (0)")
    evaluate.add_argument("--chunk", type=int, help="agents at once on each device (all)")
    evaluate.add_argument(
        "--tune", metavar="RATE", type=float, nargs="+", help="choose each rule's learning rate"
    )
    evaluate.add_argument("--tune-seeds", type=int, default=4, help="agents a rate (4), others")
    evaluate.add_argument("--json", metavar="FILE", help="write the results there")
    evaluate.set_defaults(
        takes_overrides=True,
        function="metarl.run.commands:evaluate_rules",
        results="metarl.run.commands:evaluations",
    )


def _add_claims(verbs: argparse._SubParsersAction) -> None:
    claims = verbs.add_parser("claims", help="what the project claims, and measuring it again")
    claims.set_defaults(function="metarl.run.claims:command")
    actions = claims.add_subparsers(dest="action", required=True, metavar="ACTION")
    actions.add_parser("list", help="every claim with its measured value")
    table = actions.add_parser("table", help="the claims as a Markdown table")
    table.add_argument(
        "--readme", metavar="FILE", help="write the headline claims between the markers of FILE"
    )
    table.add_argument(
        "--page", metavar="FILE", help="write all claims between the markers of FILE"
    )
    verify = actions.add_parser("verify", help="measure a claim again")
    verify.add_argument("name", metavar="NAME")
    verify.add_argument("--results", metavar="FILE", help="judge results measured before")
    verify.add_argument("--write", action="store_true", help="record the measurement in the claim")
