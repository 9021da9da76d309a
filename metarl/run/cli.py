"""The command line: `metarl COMMAND`, where `metarl --help` lists the commands."""

import argparse
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

import metarl
from metarl.core.errors import MetarlError, UsageError, nearest
from metarl.run import devices

_SETTINGS_HINT = "--section.field value"


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


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command; returns the exit status.

    Returns:
      0 done, 1 refused or failed, 2 a setting of the command line was not understood, 130
      interrupted.

    Raises:
      SystemExit: the command line is not understood (2), or asks for help or the version (0).
    """
    options, overrides = parse(sys.argv[1:] if argv is None else argv)
    if options.command is None:
        _parser().print_help()
        return 0
    try:
        devices.prepare()
        from metarl.run import commands  # after devices.prepare: imports jax users

        return commands.COMMANDS[options.command](options, overrides)
    except (MetarlError, OSError) as error:
        print(f"metarl: {error}", file=sys.stderr)
        return 2 if isinstance(error, UsageError) else 1
    except KeyboardInterrupt:
        print("metarl: interrupted", file=sys.stderr)
        return 130


def parse(arguments: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
    """Splits a command line into options and `--section.field value` overrides.

    Returns:
      The options, of which `flags` lists the options that the command has, and the overrides.

    Raises:
      SystemExit: it is not understood; the last line of the message says why.
    """
    parser = _parser()
    options, overrides = parser.parse_known_args(list(arguments))
    verb = parser.verbs()[options.command] if options.command else parser
    options.flags = verb.flags()
    if overrides and not options.takes_overrides:
        word = next((word for word in overrides if word.startswith("-")), overrides[0])
        verb.error(f"unrecognized arguments: {' '.join(overrides)}.{nearest(word, options.flags)}")
    return options, overrides


def _parser() -> _Parser:
    parser = _Parser(
        prog="metarl", description="Meta-learn learning algorithms, and use what was learned."
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version and stop")
    verbs = parser.add_subparsers(dest="command", metavar="COMMAND")
    parser.set_defaults(takes_overrides=False)
    verbs.add_parser("list", help="experiments, environments, rules and claims")
    _add_run(verbs)
    resume = verbs.add_parser("resume", help="go on with a run that was interrupted")
    resume.add_argument("run", metavar="RUN", help="its directory")
    _add_cost(verbs)
    _add_eval(verbs)
    _add_score(verbs)
    _add_envelope(verbs)
    _add_speed(verbs)
    report = verbs.add_parser("report", help="write a run's report again, from what it has")
    report.add_argument("run", metavar="RUN", help="its directory")
    _add_claims(verbs)
    return parser


def _add_run(verbs: argparse._SubParsersAction) -> None:
    run = verbs.add_parser(
        "run",
        help="run an experiment",
        usage=f"metarl run EXPERIMENT [--preset NAME] [--out DIR] [{_SETTINGS_HINT} ...]",
        epilog="Every setting: metarl run EXPERIMENT --settings",
        allow_abbrev=False,
    )
    run.add_argument("experiment", metavar="EXPERIMENT", help="see `metarl list`")
    run.add_argument("--preset", metavar="NAME", help="a named config of the experiment")
    run.add_argument("--out", metavar="DIR", help="exactly this run directory")
    run.add_argument("--runs", metavar="DIR", default="runs", help="root of all runs (./runs)")
    run.add_argument("--settings", action="store_true", help="list every setting and stop")
    run.set_defaults(takes_overrides=True)


def _add_cost(verbs: argparse._SubParsersAction) -> None:
    cost = verbs.add_parser(
        "cost",
        help="compile an experiment without running it: memory, size, time to compile",
        usage=f"metarl cost EXPERIMENT [--preset NAME] [--horizons X ...] [{_SETTINGS_HINT} ...]",
        allow_abbrev=False,
    )
    cost.add_argument("experiment", metavar="EXPERIMENT", help="see `metarl list`")
    cost.add_argument("--preset", metavar="NAME", help="a named config of the experiment")
    cost.add_argument(
        "--horizons", type=float, nargs="+", default=[1.0], help="multiples of the lifetime (1)"
    )
    cost.add_argument("--json", metavar="FILE", help="write the results there")
    cost.set_defaults(takes_overrides=True)


def _add_eval(verbs: argparse._SubParsersAction) -> None:
    evaluate = verbs.add_parser(
        "eval",
        help="train agents with rules and compare them",
        usage="metarl eval RULE [RULE ...] --env ENV [--env ENV ...] [--seeds N] [--steps N] "
        "[--horizons X ...] "
        "[--tune RATE ...] [--json FILE] [--learner.field value ...] [--agent.field value ...]",
        epilog="RULE is ppo, dpo, mdpo, none, a2c, the name of a shipped rule or optimizer, a "
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
    evaluate.set_defaults(takes_overrides=True)


def _add_score(verbs: argparse._SubParsersAction) -> None:
    score = verbs.add_parser(
        "score",
        help="train networks with optimizers and compare them with tuned ones",
        usage="metarl score OPTIMIZER [OPTIMIZER ...] --family FAMILY [--family FAMILY ...] "
        "[--steps N] [--tasks N] [--horizons X ...] [--envelope NAME] [--json FILE]",
        epilog="OPTIMIZER is adam, adamw, adamw-cosine or sgd (SGD with momentum), tuned over "
        "--rates; the name of a shipped learned optimizer; a .safetensors file; or NAME:PATH, the "
        "weights that others released. Adam, AdamW and SGD are trained in any case, unless an "
        "--envelope of theirs is given. FAMILY is such as mlp/digits?width=8-64.",
        allow_abbrev=False,
    )
    score.add_argument("optimizers", metavar="OPTIMIZER", nargs="+", help="what to compare")
    score.add_argument("--family", action="append", required=True, help="of tasks; repeatable")
    score.add_argument("--steps", type=int, default=1000, help="updates of each training (1000)")
    score.add_argument(
        "--horizons", type=float, nargs="+", default=[1.0], help="multiples of these updates (1)"
    )
    score.add_argument("--reach", type=int, default=4, help="largest speed-up to be seen (4)")
    score.add_argument("--envelope", metavar="NAME", help="a shipped envelope, or a .json file")
    score.add_argument("--json", metavar="FILE", help="write the results there")
    _add_grid(score, tasks=16, seeds=1)


def _add_envelope(verbs: argparse._SubParsersAction) -> None:
    envelope = verbs.add_parser(
        "envelope",
        help="measure the best of tuned baselines on a family, for speed-up scores",
        usage="metarl envelope FAMILY --out FILE [--steps N] [--seeds N] [--tasks N] [--points N]",
        allow_abbrev=False,
    )
    envelope.add_argument("family", metavar="FAMILY", help="such as mlp/digits?width=32")
    envelope.add_argument("--out", metavar="FILE", required=True, help="JSON file to write")
    envelope.add_argument("--steps", type=int, default=10_000, help="updates (10000)")
    envelope.add_argument("--points", type=int, default=250, help="knots (250)")
    envelope.add_argument("--ema", type=float, default=0.0, help="smoothing of curves (0)")
    envelope.add_argument(
        "--baselines", metavar="NAME", nargs="+", help="of adam, adamw and sgd (all of them)"
    )
    _add_grid(envelope, tasks=1, seeds=3)


def _add_speed(verbs: argparse._SubParsersAction) -> None:
    speed = verbs.add_parser(
        "speed",
        help="time one update of optimizers beside Adam's",
        usage="metarl speed OPTIMIZER [OPTIMIZER ...] --family [N*]FAMILY [--family ...] "
        "[--repeats N] [--in-place] [--json FILE]",
        epilog="OPTIMIZER as of `metarl score`; or an architecture with random weights, such as "
        "adafac_mlp_lopt?hidden=32; NAME@IMPLEMENTATION, such as lopt-digits@unfolded, takes that "
        "implementation of its kernel. Floors: bytes:72 reads and writes so many bytes a "
        "parameter, flops:3200 makes so many floating-point operations a parameter in square "
        "matrix products. FAMILY gives the network, such as mlp/digits?width=1024&depth=2; "
        "512*mlp/digits?width=32 is 512 networks in one call.",
        allow_abbrev=False,
    )
    speed.add_argument("optimizers", metavar="OPTIMIZER", nargs="+", help="what to time")
    speed.add_argument("--family", action="append", required=True, help="of tasks; repeatable")
    speed.add_argument("--repeats", type=int, default=9, help="updates timed of each (9)")
    speed.add_argument(
        "--in-place", action="store_true", help="write updates over parameters and state"
    )
    speed.add_argument("--seed", type=int, default=0, help="of all random numbers (0)")
    speed.add_argument("--json", metavar="FILE", help="write the results there")


def _add_grid(parser: argparse.ArgumentParser, tasks: int, seeds: int) -> None:
    parser.add_argument("--tasks", type=int, default=tasks, help=f"tasks of a family ({tasks})")
    parser.add_argument("--seeds", type=int, default=seeds, help=f"networks a task ({seeds})")
    parser.add_argument("--seed", type=int, default=0, help="of all random numbers (0)")
    parser.add_argument(
        "--rates", metavar="RATE", type=float, nargs="+",
        help="learning rates of the baselines (0.0001 to 1 in half-decades)",
    )  # fmt: skip
    parser.add_argument("--chunk", type=int, help="networks at once on each device (all)")


def _add_claims(verbs: argparse._SubParsersAction) -> None:
    claims = verbs.add_parser("claims", help="what the project claims, and measuring it again")
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


if __name__ == "__main__":
    sys.exit(main())
