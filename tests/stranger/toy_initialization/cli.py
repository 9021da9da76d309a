"""A command of its own."""


def add_commands(verbs):
    """Adds `metarl toy`."""
    toy = verbs.add_parser("toy", help="say that the package is installed")
    toy.set_defaults(function="toy_initialization.cli:command")


def command(options, overrides):
    """Prints a line."""
    del options, overrides
    print("toy-initialization is installed")
    return 0
