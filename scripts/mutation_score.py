"""Measures how many of 60 small mutations of the core the default tests catch.

  .venv/bin/python scripts/mutation_score.py --results after.json [--tests CHECKOUT] [--all]
  .venv/bin/python scripts/mutation_score.py --report before.json after.json

Applies the mutants of `scripts/mutants.json` one at a time to a copy of the repository and runs
pytest until a test fails: first the test files of the mutant's room, the fewer imports away from
its module the earlier, then those of other rooms that import it, and with `--all` every other.
`scripts/mutation_sites.py` sampled the mutants. The results file is written after each mutant, and
a run skips the mutants that it contains. `--tests` runs the tests of another checkout, so that two
versions of the tests can be compared on the same mutants. The verdicts:

  caught    a test fails that passes without the mutation, or a test file cannot be imported;
  survived  no test fails, or none within the limit of processor time;
  timeout   a single test uses more than half of the limit and reaches it, or pytest hangs;
  void      the test that fails also fails without the mutation.
"""

import argparse
import importlib
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))

from mutants import ROOMS, ROOT, mutants, mutated, test_files

LIBRARY = ("metarl", "kernels", "experiments", "scripts", "docs", "README.md", "CONTRIBUTING.md")
TESTS = ("tests", "pyproject.toml")
VERDICTS = ("caught", "survived", "timeout", "void")
OPTIONS = "-n 0 -q -p no:cacheprovider -p mutation_score -o timeout=0 --tb=line --durations=0"
STUCK = 0.5
"""Share of the limit above which a single test that reaches it is a timeout."""
PATIENCE = 12
"""Wall time after which pytest counts as hanging, in units of the limit."""
LOG = "MUTATION_LOG"


# pytest loads this file as a plugin, which logs starts, failures and ends of tests.


def _note(event: str, test: str) -> None:
    with open(os.environ[LOG], "a") as log:
        entry = {"event": event, "test": test, "seconds": round(time.process_time(), 2)}
        log.write(json.dumps(entry) + "\n")


def pytest_runtest_logstart(nodeid: str) -> None:
    _note("start", nodeid)


def pytest_runtest_logreport(report: Any) -> None:
    if report.failed:
        _note("failed", report.nodeid)
    if report.when == "teardown":
        _note("end", report.nodeid)


def pytest_collection_finish(session: Any) -> None:
    import jax

    for name in ("metarl.core", "metarl.kernels"):
        found = Path(str(importlib.import_module(name).__file__)).resolve()
        assert session.config.rootpath.resolve() in found.parents, f"{found} is not the copy"
    # Caches small programs too, which are the same for most mutants.
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.05)


class Sandbox:
    """A copy of the library together with the tests of some checkout."""

    def __init__(self, folder: Path, tests: Path) -> None:
        self.copy, self.log, self.output = folder / "copy", folder / "log", folder / "output"
        (folder / "tmp").mkdir()
        for name in LIBRARY + TESTS:
            source = (tests if name in TESTS else ROOT) / name
            if source.is_dir():
                ignored = shutil.ignore_patterns("__pycache__")
                shutil.copytree(source, self.copy / name, symlinks=True, ignore=ignored)
            else:
                shutil.copy2(source, self.copy / name)
        for name in ("kernels", "experiments"):
            link = self.copy / "metarl" / name
            if not link.is_symlink():
                link.symlink_to(f"../{name}")
        paths = os.pathsep.join([str(self.copy), str(self.copy / "scripts")])
        own = {"PYTHONPATH": paths, "TMPDIR": str(folder / "tmp"), LOG: str(self.log)}
        self.environment = os.environ | own
        self.environment.pop("METARL_REFERENCE_DATA", None)

    def write(self, file: str, text: str) -> None:
        """Writes a library file and deletes its bytecode, whose time stamp is in whole seconds."""
        path = self.copy / file
        path.write_text(text)
        Path(importlib.util.cache_from_source(str(path))).unlink(missing_ok=True)

    def pytest(self, arguments: list[str], limit: int) -> dict[str, Any]:
        """Runs tests; returns the exit code, tests run per file, failures and the last event."""
        self.log.write_text("")
        shutil.rmtree(self.copy / ".hypothesis", ignore_errors=True)
        before = _children_seconds()
        with self.output.open("w") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "pytest", *OPTIONS.split(), *arguments],
                cwd=self.copy,
                env=self.environment,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CPU, (limit, limit + 5)),
            )
            code: int | None
            try:
                code = process.wait(PATIENCE * limit)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                code = None
        events = [json.loads(line) for line in self.log.read_text().splitlines()]
        if code in (3, 4):
            raise RuntimeError(f"pytest did not run:\n{self.output.read_text()}")
        return {
            "code": code,
            "seconds": round(_children_seconds() - before, 1),
            "files": Counter(e["test"].split("::")[0] for e in events if e["event"] == "end"),
            "failed": list(dict.fromkeys(e["test"] for e in events if e["event"] == "failed")),
            "last": events[-1] if events else None,
        }


def _children_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def verdict(ran: dict[str, Any], limit: int) -> str:
    """Classifies a run with `-x` of the tests of a mutant."""
    if ran["code"] is None:
        return "timeout"
    if ran["code"] in (0, 5):
        return "survived"
    if ran["code"] not in (-signal.SIGXCPU, -signal.SIGKILL):
        return "caught"
    last_test = limit - (ran["last"]["seconds"] if ran["last"] else 0)
    return "timeout" if last_test > STUCK * limit else "survived"


def run(options: argparse.Namespace) -> None:
    """Runs the mutants that the results file lacks and adds them one by one."""
    results = json.loads(options.results.read_text()) if options.results.exists() else {}

    def keep(key: str, entry: dict[str, Any]) -> None:
        results[key] = entry
        options.results.write_text(json.dumps(results, indent=1) + "\n")

    with tempfile.TemporaryDirectory(prefix="mutation-") as folder:
        sandbox = Sandbox(Path(folder), options.tests)
        todo = [m for m in mutants() if m.key not in results and m.room in options.rooms]
        for number, mutant in enumerate(todo, 1):
            source = (sandbox.copy / mutant.file).read_text()
            sandbox.write(mutant.file, mutated(source, mutant))
            files = test_files(mutant, sandbox.copy, options.all)
            ran = sandbox.pytest(["-x", *files], options.limit)
            sandbox.write(mutant.file, source)
            outcome = verdict(ran, options.limit)
            keep(mutant.key, {"verdict": outcome, "limit": options.limit, **ran})
            where = f"{mutant.file} {mutant.function} {mutant.kind}"
            print(f"{number}/{len(todo)} {outcome} {ran['seconds']} s {where}", flush=True)
        unchecked = {
            k: r for k, r in results.items() if r["failed"] and "passes_unmutated" not in r
        }
        if unchecked:
            tests = sorted({r["failed"][0] for r in unchecked.values()})
            failing = sandbox.pytest(tests, limit=3600)["failed"]
            for key, entry in unchecked.items():
                passes = entry["failed"][0] not in failing
                changed = {} if passes else {"verdict": "void"}
                keep(key, entry | {"passes_unmutated": passes} | changed)
    report([options.results])


def report(paths: list[Path]) -> None:
    """Prints verdicts per room, and every mutant that was not caught."""
    for path in paths:
        results = json.loads(path.read_text())
        outcome = {m: results[m.key]["verdict"] for m in mutants() if m.key in results}
        print(f"\n{path}: {sum(r['seconds'] for r in results.values()):.0f} processor-seconds")
        print(f"{'room':12}" + "".join(f"{name:>10}" for name in VERDICTS))
        for room in (*ROOMS, "all"):
            counts = Counter(v for m, v in outcome.items() if room in (m.room, "all"))
            print(f"{room:12}" + "".join(f"{counts[name]:>10}" for name in VERDICTS))
        for mutant in (m for m, verdict in outcome.items() if verdict != "caught"):
            limit = ", limit reached" if results[mutant.key]["code"] not in (0, 5) else ""
            print(f"\n{outcome[mutant]}{limit}: {mutant.file}, {mutant.function} ({mutant.kind})")
            print(f"- {mutant.before.strip()}\n+ {mutant.after.strip()}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--results", type=Path, help="JSON file to which results are added")
    parser.add_argument("--tests", type=Path, default=ROOT, help="checkout whose tests run")
    parser.add_argument("--rooms", nargs="+", choices=ROOMS, default=ROOMS)
    parser.add_argument("--limit", type=int, default=150, help="processor-seconds for a mutant")
    parser.add_argument("--all", action="store_true", help="run the other test files as well")
    parser.add_argument("--report", nargs="+", type=Path, help="print results; run nothing")
    options = parser.parse_args()
    if options.report:
        report(options.report)
    elif options.results:
        run(options)
    else:
        parser.error("one of --results and --report is needed")


if __name__ == "__main__":
    main()
