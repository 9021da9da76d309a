"""Ends a test that hangs, and no test that is merely slow.

jax 0.10 can stop for ever on CPU, at 0 percent of a core. A limit on wall time would turn a slow or
busy machine red, so two other limits hold: a test whose process and children use no processor time
for a while hangs, and a test that uses more processor time than any of ours loops.
"""

import faulthandler
import os
import sys
import threading
import time
from pathlib import Path

import pytest

IDLE_SECONDS = 120.0
"""Wall time within which a live test uses at least `LEAST_WORK` processor-seconds."""

LEAST_WORK = 0.5

MOST_WORK = 300.0
"""Processor-seconds of one test with its fixtures; a slow test may use ten times as many."""

_TICKS = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100


def processor_seconds(pid: int) -> float:
    """Processor time of a process and its descendants; of this process alone without /proc."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return time.process_time() if pid == os.getpid() else 0.0
    own = sum(int(x) for x in fields[11:15]) / _TICKS  # with the children that have ended
    return own + sum(processor_seconds(int(child)) for child in children)


class Watch:
    """Decides, from readings of a clock and of processor time, whether a test hangs.

    Args:
      now: wall time in seconds at the start of the test.
      work: processor-seconds at the start of the test.
      most_work: processor-seconds that the test may use.
    """

    def __init__(self, now: float, work: float, most_work: float):
        self.most_work = work + most_work
        self.since, self.work = now, work

    def verdict(self, now: float, work: float) -> str | None:
        """Why the test is to be ended, or None."""
        if work > self.most_work:
            return f"it used more than {self.most_work:.0f} processor-seconds"
        if work - self.work >= LEAST_WORK:
            self.since, self.work = now, work
        if now - self.since > IDLE_SECONDS:
            return f"it did nothing for {IDLE_SECONDS:.0f} s"
        return None


def _guard(name: str, watch: Watch, ended: threading.Event) -> None:
    while not ended.wait(1.0):
        reason = watch.verdict(time.monotonic(), processor_seconds(os.getpid()))
        if reason is not None:
            stream = sys.__stderr__
            print(f"\n{name} hangs: {reason}. All threads:", file=stream)
            faulthandler.dump_traceback(stream)
            os._exit(1)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_protocol(item):
    """Watches each test from another thread, which can end it wherever it stopped."""
    most = MOST_WORK * (10.0 if item.get_closest_marker("slow") else 1.0)
    watch = Watch(time.monotonic(), processor_seconds(os.getpid()), most)
    ended = threading.Event()
    threading.Thread(target=_guard, args=(item.nodeid, watch, ended), daemon=True).start()
    yield
    ended.set()
