"""What the tests cost: processor time and XLA compilations of each test and file.

Always prints the processor time of the whole run. `--cost-report FILE` writes, for each test, its
processor-seconds (set-up included), the number of programs that XLA compiled, the seconds that
they took (tracing and lowering apart), how many came from the compilation cache, and the peak of
its worker's memory so far in GB, as JSON; and prints the dearest files and tests.
"""

import collections
import json
import os
import resource
from pathlib import Path

import jax
import pytest

_BACKEND = "/jax/core/compile/backend_compile_duration"
_TRACING = (
    "/jax/core/compile/jaxpr_trace_duration",
    "/jax/core/compile/jaxpr_to_mlir_module_duration",
)
_FIELDS = ("cpu", "programs", "compile", "trace", "cached")
_totals = dict.fromkeys(_FIELDS, 0.0)
_listening = False


def _on_duration(event, seconds, **_):
    if event == _BACKEND:
        _totals["programs"] += 1
        _totals["compile"] += seconds
    elif event in _TRACING:
        _totals["trace"] += seconds


def _on_event(event, **_):
    if event == "/jax/compilation_cache/cache_hits":
        _totals["cached"] += 1


def _now():
    own, children = resource.getrusage(resource.RUSAGE_SELF), os.times()
    cpu = own.ru_utime + own.ru_stime + children.children_user + children.children_system
    return {**_totals, "cpu": cpu}


class _Costs:
    """Gathers what each test cost, in the process that shows the report."""

    def __init__(self, path):
        self.path = path
        self.tests = collections.defaultdict(lambda: dict.fromkeys(_FIELDS, 0.0))
        self.memory = 0.0

    def pytest_runtest_logreport(self, report):
        for name, value in report.user_properties:
            if name == f"cost-{report.when}":
                for field in _FIELDS:
                    self.tests[report.nodeid][field] += value[field]
                # The worker's peak so far: the first test that has a value raised it to there.
                self.tests[report.nodeid]["memory"] = value["memory"]
                self.memory = max(self.memory, value["memory"])

    def pytest_terminal_summary(self, terminalreporter):
        files = collections.defaultdict(lambda: dict.fromkeys(_FIELDS, 0.0))
        for node, cost in self.tests.items():
            for field in _FIELDS:
                files[node.split("::")[0]][field] += cost[field]
        self.path.write_text(json.dumps({"tests": self.tests, "files": files}, indent=1))
        for title, rows in (("files", files), ("tests", self.tests)):
            terminalreporter.write_line(
                f"dearest {title}: processor-seconds, programs, compile s, trace s, from the cache"
            )
            for node, cost in sorted(rows.items(), key=lambda row: -row[1]["cpu"])[:20]:
                terminalreporter.write_line(
                    f"{cost['cpu']:8.1f} {cost['programs']:6.0f} {cost['compile']:8.1f}"
                    f" {cost['trace']:8.1f} {cost['cached']:6.0f}  {node}"
                )
        terminalreporter.write_line(f"most memory of a worker: {self.memory:.2f} GB")


def pytest_addoption(parser):
    parser.addoption("--cost-report", type=Path, metavar="FILE", help="costs of each test, as JSON")


def pytest_configure(config):
    global _listening
    path = config.getoption("--cost-report")
    if path is None:
        return
    if not _listening:
        jax.monitoring.register_event_duration_secs_listener(_on_duration)
        jax.monitoring.register_event_listener(_on_event)
        _listening = True
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(_Costs(path.resolve()))


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    if item.config.getoption("--cost-report") is None:
        return
    now = _now()
    before = getattr(item.config, "_cost_before", now)
    cost = {field: now[field] - before[field] for field in _FIELDS}
    cost["memory"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    item.config._cost_before = now
    outcome.get_result().user_properties.append((f"cost-{call.when}", cost))


def pytest_sessionstart(session):
    session.config._cost_before = _now()


def pytest_terminal_summary(terminalreporter):
    """Prints the processor time of the run, workers and what they start included."""
    if hasattr(terminalreporter.config, "workerinput"):
        return
    times = os.times()
    cpu = times.user + times.system + times.children_user + times.children_system
    terminalreporter.write_line(f"processor time of all processes: {cpu:.0f} s")
