"""Which implementations of kernels a program uses, for the record of a run."""

from collections.abc import Iterator
from contextlib import contextmanager

from metarl.kernels.lopt_update import noted


@contextmanager
def kernel_choices() -> Iterator[dict[str, str]]:
    """Tells, at its end, what was chosen for every kernel in the programs traced inside.

    Of functions that jax has traced before nothing is seen.

    Yields:
      Names of implementations by the name of the kernel, several joined by commas; empty if no
      kernel was met.
    """
    choices: dict[str, str] = {}
    with noted() as names:
        yield choices
    if names:
        choices["lopt_update"] = ", ".join(sorted(names))
