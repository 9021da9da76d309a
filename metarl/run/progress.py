"""What a person sees while a run goes on: a live bar on a terminal, plain lines elsewhere."""

import sys
import time
from collections.abc import Sequence
from typing import Any, TextIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from metarl.evaluation.describe import duration


def quantity(x: float) -> str:
    """Formats a count as `950`, `51.2k` or `1.23M`."""
    for limit, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        # What rounds up to a thousand of a unit is one of the next: 1M, not 1e+03k.
        if abs(x) >= 0.9995 * limit:
            return f"{x / limit:.3g}{unit}"
    return f"{x:.0f}"


class Display:
    """Shows generations as they pass.

    Attributes:
      total: generations of the whole run.
    """

    def __init__(self, total: int, start: int = 0, stream: TextIO | None = None) -> None:
        self.total = total
        self._began = time.monotonic()
        self._first: tuple[int, float] | None = None
        stream = stream or sys.stdout
        self._console = Console(file=stream, highlight=False, emoji=False, soft_wrap=True)
        # A dumb terminal cannot redraw a bar: it gets lines too.
        self._live = stream.isatty() and self._console.is_interactive
        self._progress = Progress(
            TextColumn("generation"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[status]}"),
            TimeElapsedColumn(),
            console=self._console,
            disable=not self._live,
        )
        self._bar = self._progress.add_task("", total=total, completed=start, status="compiling")

    def __enter__(self) -> "Display":
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def note(self, text: str) -> None:
        """Prints a line."""
        self._console.print(text, markup=False)

    def log(self, rows: Sequence[dict[str, Any]], steps: int) -> None:
        """Shows the records of the generations since the last call.

        Args:
          rows: one a generation.
          steps: environment steps of one generation.
        """
        now = time.monotonic()
        last = rows[-1]["generation"]
        if self._first is None:
            self._first = (last, now)  # the first call includes compilation
            pace, began = (now - self._began) / len(rows), " with compilation"
        else:
            pace, began = (now - self._first[1]) / (last - self._first[0]), ""
        speed = f"{quantity(steps / max(pace, 1e-9))} steps/s{began}"
        for row in rows:
            self._show(row, speed, duration(pace * (self.total - last)), now - self._began)

    def _show(self, row: dict[str, Any], speed: str, left: str, elapsed: float) -> None:
        generation = row["generation"]
        diverged = f"  diverged {row['diverged']}" if row.get("diverged") else ""
        status = (
            f"best {row['fitness_best']:.4g}  mean {row['fitness_mean']:.4g}  "
            f"{speed}  left {left}{diverged}"
        )
        if self._live:
            self._progress.update(self._bar, completed=generation, status=status)
        else:
            self.note(
                f"generation {generation}/{self.total}  {status}  elapsed {duration(elapsed)}"
            )
