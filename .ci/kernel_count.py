"""A pytest plugin that counts the kernel tests which ran and passed; `.ci/run` loads it.

A kernel test that is skipped everywhere would look green for ever. Each pytest process adds one
line with its count to the file that `$KERNEL_COUNT_FILE` names.
"""

import os
from pathlib import Path

_passed: set[str] = set()


def pytest_runtest_logreport(report):
    """Remembers every test marked `kernel` whose body ran and passed."""
    if report.when == "call" and report.passed and "kernel" in report.keywords:
        _passed.add(report.nodeid)


def pytest_terminal_summary(terminalreporter):
    """Prints the count, and adds it to the file; workers leave that to who started them."""
    if hasattr(terminalreporter.config, "workerinput"):
        return
    terminalreporter.write_line(f"kernel tests executed: {len(_passed)}")
    if "KERNEL_COUNT_FILE" in os.environ:
        with Path(os.environ["KERNEL_COUNT_FILE"]).open("a") as file:
            file.write(f"{len(_passed)}\n")
