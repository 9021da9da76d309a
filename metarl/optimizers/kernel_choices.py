"""Which implementations of kernels a program uses: for the record of a run, and to compare them."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from metarl.core.errors import ConfigError, check_choice
from metarl.kernels.lopt_update import NAMES, override_implementation, record_implementations


@contextmanager
def kernel_choices() -> Iterator[dict[str, str]]:
    """Tells, at its end, what was chosen for every kernel in the programs traced inside.

    Of functions that jax has traced before nothing is seen.

    Yields:
      Names of implementations by the name of the kernel, several joined by commas; empty if no
      kernel was met.
    """
    choices: dict[str, str] = {}
    with record_implementations() as names:
        yield choices
    if names:
        choices["lopt_update"] = ", ".join(sorted(names))


@contextmanager
def override_kernels(implementation: str | None) -> Iterator[None]:
    """Gives the programs traced inside this implementation wherever an optimizer names none.

    Functions that jax has traced before are not changed, and small vectors share the reference's
    arithmetic whatever is asked for (`metarl.kernels.lopt_update.lopt_update_many`).

    Args:
      implementation: of the learned update; None = the best, as outside.

    Raises:
      ConfigError: nothing is called so, or it cannot run on this machine.
    """
    with ExitStack() as stack:
        if implementation is not None:
            check_choice("implementation", implementation, NAMES)
            try:
                stack.enter_context(override_implementation(implementation))
            except ValueError as error:
                raise ConfigError(str(error)) from error
        yield
