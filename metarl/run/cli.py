"""The command line: `metarl COMMAND`, where `metarl --help` lists the commands."""

import importlib
import os
import sys
from collections.abc import Sequence
from typing import Any

from metarl.core.errors import MetarlError, UsageError
from metarl.run import devices, parser


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command; returns the exit status.

    Returns:
      0 done, 1 refused or failed, 2 a setting of the command line was not understood, 130
      interrupted.

    Raises:
      SystemExit: the command line is not understood (2), or asks for help or the version (0).
    """
    options, overrides = parser.parse(sys.argv[1:] if argv is None else argv)
    if options.command is None:
        parser.command_parser().print_help()
        return 0
    try:
        devices.prepare()
        # After devices.prepare, since commands import jax.
        status: int = resolve(options.function)(options, overrides)
        sys.stdout.flush()
        return status
    except BrokenPipeError:
        # The reader of our output is gone (`metarl list | head`); so is the stream to say so.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (MetarlError, OSError) as error:
        print(f"metarl: {error}", file=sys.stderr)
        return 2 if isinstance(error, UsageError) else 1
    except KeyboardInterrupt:
        print("metarl: interrupted", file=sys.stderr)
        return 130


def resolve(name: str) -> Any:
    """Imports `module:attribute`."""
    module, _, attribute = name.partition(":")
    return getattr(importlib.import_module(module), attribute)


if __name__ == "__main__":
    sys.exit(main())
