"""The commands `score`, `envelope` and `speed`; imports neither jax nor what they do."""

import argparse


def add_commands(verbs: argparse._SubParsersAction) -> None:
    """Adds the commands to a command line."""
    _add_score(verbs)
    _add_envelope(verbs)
    _add_speed(verbs)


def _add_score(verbs: argparse._SubParsersAction) -> None:
    score = verbs.add_parser(
        "score",
        help="train networks with optimizers and compare them with tuned ones",
        usage="metarl score OPTIMIZER [OPTIMIZER ...] --family FAMILY [--family FAMILY ...] "
        "[--steps N] [--tasks N] [--horizons X ...] [--envelope NAME] [--json FILE]",
        epilog="OPTIMIZER is adam, adamw, adamw-cosine or sgd (SGD with momentum), tuned over "
        "--rates; the name of a pretrained optimizer; a .safetensors file; or NAME:PATH, the "
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
    score.add_argument(
        "--envelope", metavar="NAME", help="an envelope of the library, or a .json file"
    )
    score.add_argument("--json", metavar="FILE", help="write the results there")
    _add_grid(score, tasks=16, seeds=1)
    score.set_defaults(
        function="metarl.problems.optimizer.commands:score",
        results="metarl.problems.optimizer.commands:scores",
    )


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
    envelope.set_defaults(function="metarl.problems.optimizer.commands:envelope")


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
    speed.set_defaults(
        function="metarl.problems.optimizer.speed:command",
        results="metarl.problems.optimizer.speed:speeds",
    )


def _add_grid(parser: argparse.ArgumentParser, tasks: int, seeds: int) -> None:
    parser.add_argument("--tasks", type=int, default=tasks, help=f"tasks of a family ({tasks})")
    parser.add_argument("--seeds", type=int, default=seeds, help=f"networks a task ({seeds})")
    parser.add_argument("--seed", type=int, default=0, help="of all random numbers (0)")
    parser.add_argument(
        "--rates", metavar="RATE", type=float, nargs="+",
        help="learning rates of the baselines (0.0001 to 1 in half-decades)",
    )  # fmt: skip
    parser.add_argument("--chunk", type=int, help="networks at once on each device (all)")
