"""Recording and overriding of kernel implementations, for run records and benchmarks."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from metarl.core.errors import ConfigError, check_choice
from metarl.kernels.lopt_update import NAMES, override_implementation, record_implementations


@contextmanager
def kernel_choices() -> Iterator[dict[str, str]]:
    """Records the implementation of every kernel in the programs traced inside the context.

    Functions that jax has already traced record nothing.

    Yields:
      A dictionary, filled at exit: names of implementations by kernel, several joined by commas;
      empty if no kernel was traced.
    """
    choices: dict[str, str] = {}
    with record_implementations() as names:
        yield choices
    if names:
        choices["lopt_update"] = ", ".join(sorted(names))


@contextmanager
def override_kernels(implementation: str | None) -> Iterator[None]:
    """Sets the default implementation for programs traced inside the context.

    Functions that jax has already traced do not change, and small vectors always use the
    reference's arithmetic (`metarl.kernels.lopt_update.lopt_update_many`).

    Args:
      implementation: implementation of `lopt_update`; None = no override.

    Raises:
      ConfigError: the name is unknown, or the implementation cannot run on this machine.
    """
    with ExitStack() as stack:
        if implementation is not None:
            check_choice("implementation", implementation, NAMES)
            try:
                stack.enter_context(override_implementation(implementation))
            except ValueError as error:
                raise ConfigError(str(error)) from error
        yield
