"""What a person sees: formats, plain lines, a bar on a terminal."""

import io
import os
import pty

import pytest

from metarl.run.progress import Display, duration, quantity


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-1.0, "0s"),
        (0.4, "0s"),
        (42.0, "42s"),
        (59.6, "1m00s"),
        (60, "1m00s"),
        (185, "3m05s"),
        (3599.4, "59m59s"),
        (3599.6, "1h00m"),
        (7620, "2h07m"),
        (90_061, "25h01m"),
    ],
)
def test_duration(seconds, text):
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0"),
        (0.4, "0"),
        (950, "950"),
        (999.4, "999"),
        (999.6, "1k"),
        (1000, "1k"),
        (51_200, "51.2k"),
        (999_499, "999k"),
        (999_950, "1M"),
        (1_234_567, "1.23M"),
        (5e9, "5G"),
        (-2500, "-2.5k"),
    ],
)
def test_quantity(number, text):
    assert quantity(number) == text


def _row(generation, **more):
    return {"generation": generation, "fitness_best": 12.5, "fitness_mean": 3.25, **more}


class _Clock:
    """Stands for the module `time`."""

    def __init__(self):
        self.now = 100.0

    def monotonic(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = _Clock()
    monkeypatch.setattr("metarl.run.progress.time", clock)
    return clock


def test_lines_where_there_is_no_terminal(clock):
    stream = io.StringIO()
    with Display(10, stream=stream) as display:
        display.note("run: runs/[bold]x[/bold]:smile:")
        clock.now += 20
        display.log([_row(1)], steps=51_200)
        clock.now += 2
        display.log([_row(2)], steps=51_200)
        clock.now += 4
        display.log([_row(3, diverged=2)], steps=51_200)
    assert stream.getvalue().splitlines() == [
        "run: runs/[bold]x[/bold]:smile:",
        "generation 1/10  best 12.5  mean 3.25  2.56k steps/s with compilation  left 3m00s"
        "  elapsed 20s",
        "generation 2/10  best 12.5  mean 3.25  25.6k steps/s  left 16s  elapsed 22s",
        "generation 3/10  best 12.5  mean 3.25  17.1k steps/s  left 21s  diverged 2  elapsed 26s",
    ]


def test_generations_of_one_look_share_its_time(clock):
    stream = io.StringIO()
    display = Display(8, start=2, stream=stream)
    clock.now += 30
    display.log([_row(3), _row(4)], steps=1000)
    clock.now += 4
    display.log([_row(5), _row(6)], steps=1000)
    lines = stream.getvalue().splitlines()
    assert [line.split()[1] for line in lines] == ["3/8", "4/8", "5/8", "6/8"]
    assert all("67 steps/s with compilation  left 1m00s" in line for line in lines[:2])
    assert all("500 steps/s  left 4s" in line for line in lines[2:])


def _on_a_terminal(monkeypatch, term):
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", term)
    ours, theirs = pty.openpty()
    try:
        with os.fdopen(theirs, "w") as stream, Display(3, stream=stream) as display:
            display.note("run: runs/x")
            display.log([_row(1)], steps=100)
            display.log([_row(2), _row(3)], steps=100)
        return _everything(ours)
    finally:
        os.close(ours)


def _everything(descriptor):
    """Reads to the end; a terminal hands out what was written in pieces of its own."""
    shown = b""
    while True:
        try:
            piece = os.read(descriptor, 1 << 16)
        except OSError:  # how Linux says that the other side was closed
            break
        if not piece:
            break
        shown += piece
    return shown.decode()


def test_a_bar_on_a_terminal(monkeypatch):
    shown = _on_a_terminal(monkeypatch, "xterm-256color")
    assert "run: runs/x" in shown
    assert "3/3" in shown
    assert "best 12.5" in shown
    assert "\x1b[" in shown
    assert "generation 3/3  best" not in shown


def test_lines_on_a_terminal_that_cannot_redraw(monkeypatch):
    shown = _on_a_terminal(monkeypatch, "dumb")
    assert "generation 3/3  best 12.5" in shown
    assert "\x1b[" not in shown
