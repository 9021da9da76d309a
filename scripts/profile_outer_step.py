"""Says what one outer step spends its time on, operation by operation.

  .venv/bin/python scripts/profile_outer_step.py [CASE ...] [--top N] [--json FILE]

A case is an experiment, `lpg` or `lpg:small` (a preset), or one of the shapes in which outer steps
of learned optimizers are compared: `pes:mlp_lopt`, `pes:adafac_mlp_lopt` (8 tasks, parts of 50
updates, a perceptron of 2,410 parameters). One device; every operation of the compiled program is
timed by jax's profiler. Times of operations are wall time, so on a shared core only shares count;
the time of a whole step is processor time.
"""

import argparse
import json
import re
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

from metarl.run import devices

devices.prepare(host_devices=1)

import jax  # noqa: E402

from metarl import optimizers  # noqa: E402
from metarl.core.mesh import make_mesh, on_mesh  # noqa: E402
from metarl.estimators.antithetic import AntitheticTruncatedESConfig  # noqa: E402
from metarl.estimators.pes import PES  # noqa: E402
from metarl.inner.training import Training  # noqa: E402
from metarl.inner.training_meta_loss import training_truncation  # noqa: E402
from metarl.run import experiments  # noqa: E402
from metarl.run.build import build  # noqa: E402
from metarl.tasks import families  # noqa: E402
from metarl.tasks.curricula.uniform import Uniform  # noqa: E402
from metarl.tasks.lifetimes import Lifetimes  # noqa: E402

CASES = ("lpo", "lpg", "learned-optimizer", "pes:mlp_lopt", "pes:adafac_mlp_lopt")
_OPTIMIZERS = {
    "mlp_lopt": optimizers.mlp_lopt_inner,
    "adafac_mlp_lopt": optimizers.adafac_mlp_lopt_inner,
}
_PARTS = (
    ("random numbers", r"threefry|uniform|_bits|gumbel|normal\b|shuffle|random"),
    ("environment", r"/environment/"),
    ("optimizer", r"/optimizer/"),
    ("minibatches: shuffle, gather", r"/minibatches/"),
    ("advantages, values of the rollout", r"/advantages/"),
    ("backward pass: recomputed", r"rematted_computation"),
    ("backward pass", r"transpose\("),
    ("forward pass of the loss", r"jvp\("),
    ("policy, while acting", r"\.policy/"),
)
"""Parts of a step by patterns of an operation's origin, the first that fits."""

Case = tuple[Callable[..., Any], tuple[Any, ...]]


class Operation(NamedTuple):
    """An instruction of the compiled program: its kind, its shape, and what it was made from."""

    kind: str
    shape: str
    origin: str


def case(name: str) -> Case:
    """Compiled function and arguments of one outer step."""
    method, _, optimizer = name.partition(":")
    return pes(optimizer) if method == "pes" else experiment(method, optimizer)


def pes(optimizer: str) -> Case:
    """One estimate in the shape of the benchmarks."""
    family = families.make("mlp/digits?width=32&batch=128")
    learned = _OPTIMIZERS[optimizer]()
    tasks = Uniform(Lifetimes(family, 1000, 1000))
    parts = training_truncation(Training(family, learned), 50)
    estimator = PES(AntitheticTruncatedESConfig(num_parallel=8), parts, tasks)
    key, mesh = jax.random.key(0), make_mesh(1)
    theta = learned.init(key)
    return on_mesh(estimator.estimate, mesh), (
        key,
        theta,
        on_mesh(estimator.init, mesh)(key, theta),
    )


def experiment(name: str, preset: str) -> Case:
    """One generation of an experiment."""
    found = experiments.load(name)
    training = build(found.presets[preset or found.default])
    step = on_mesh(training.problem.meta.step, training.mesh)
    return step, (training.key, training.init(training.key))


def operations(text: str) -> dict[str, Operation]:
    """Instructions of a compiled program, by name."""
    found = {}
    for line in text.splitlines():
        head = re.match(r"\s*(?:ROOT )?%?([\w.\-]+) = (\(?[^=]*?) ([\w\-]+)\(", line)
        if head:
            name, shape, kind = head.groups()
            origin = re.search(r'op_name="([^"]*)"', line)
            # XLA on CPU cuts long sums into windows, which then take long.
            kind = "windowed sum" if "reduce-window" in name else kind
            found[name] = Operation(kind, shape.split("{")[0], origin[1] if origin else "")
    return found


def traced(program: Any, arguments: tuple[Any, ...]) -> list[tuple[str, float]]:
    """Name and nanoseconds of every operation that one run executes, loops themselves left out."""
    with tempfile.TemporaryDirectory() as folder:
        with jax.profiler.trace(folder):
            jax.block_until_ready(program(*arguments))
        file = next(Path(folder).rglob("*.xplane.pb"))
        planes = jax.profiler.ProfileData.from_file(str(file)).planes
        lines = [line for plane in planes for line in plane.lines if "XLA" in line.name]
        events = [(event.name, event.duration_ns) for line in lines for event in line.events]
    around = ("Thunk", "while", "cond", "call", "end:")
    return [(name, taken) for name, taken in events if not name.startswith(around)]


def part_of(operation: Operation) -> str:
    """Which part of a step an operation belongs to."""
    named = (part for part, pattern in _PARTS if re.search(pattern, operation.origin))
    return next(named, "rest" if operation.origin else "copies and others without an origin")


def shares(rows: Iterable[tuple[str, float]]) -> list[tuple[str, float, int]]:
    """Label, share of time and number of operations, the largest first."""
    times: Counter[str] = Counter()
    counts: Counter[str] = Counter()
    for label, taken in rows:
        times[label] += taken
        counts[label] += 1
    total = sum(times.values()) or 1.0
    return [(label, taken / total, counts[label]) for label, taken in times.most_common()]


def profile(name: str, top: int) -> dict[str, Any]:
    """Compiles a case, runs it, and prints what it does."""
    function, arguments = case(name)
    started = time.process_time()
    lowered = function.lower(*arguments)  # type: ignore[attr-defined]
    traced_by = time.process_time()
    program = lowered.compile()
    compiled_by = time.process_time()
    jax.block_until_ready(program(*arguments))
    seconds = []
    for _ in range(3):
        begun = time.process_time()
        jax.block_until_ready(program(*arguments))
        seconds.append(time.process_time() - begun)
    cost = program.cost_analysis()
    events = traced(program, arguments)
    known = operations(program.as_text())
    met = [(known.get(event, Operation("?", "", "")), taken) for event, taken in events]
    row = {
        "run_seconds": statistics.median(seconds),
        "trace_seconds": traced_by - started,
        "compile_seconds": compiled_by - traced_by,
        "temporary_mb": program.memory_analysis().temp_size_in_bytes / 1e6,
        "flops_of_loop_bodies_once": cost.get("flops"),
        "operations": len(events),
        "by_part": shares((part_of(operation), taken) for operation, taken in met),
        "by_kind": shares((operation.kind, taken) for operation, taken in met),
        "slowest": shares(
            (f"{operation.kind} {operation.shape} {operation.origin[-70:]}", taken)
            for operation, taken in met
        )[:top],
    }
    show(name, row)
    return row


def show(name: str, row: dict[str, Any]) -> None:
    """Prints a profile."""
    print(
        f"{name}: {1e3 * row['run_seconds']:.0f} ms of processor time, {row['operations']} "
        f"operations, temporaries {row['temporary_mb']:.0f} MB; "
        f"traced in {row['trace_seconds']:.1f} s, compiled in {row['compile_seconds']:.1f} s "
        "(a moment if it came from the cache)"
    )
    for table in ("by_part", "by_kind", "slowest"):
        print(f"  {table}")
        for label, share, count in row[table]:
            if share >= 0.005:
                print(f"    {100 * share:5.1f}%  {count:7d} x  {label}")


def main() -> None:
    """Profiles the cases named, or all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("cases", nargs="*", default=CASES, metavar="CASE", help=", ".join(CASES))
    parser.add_argument("--top", type=int, default=15, help="how many of the slowest operations")
    parser.add_argument("--json", help="write the numbers there")
    options = parser.parse_args()
    report = {name: profile(name, options.top) for name in options.cases}
    if options.json:
        Path(options.json).write_text(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
