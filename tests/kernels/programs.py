"""What programs consist of."""


def equations(program):
    """All equations of a program, those of its parts included."""
    for eqn in getattr(program, "jaxpr", program).eqns:
        yield eqn
        for part in eqn.params.values():
            if hasattr(part, "jaxpr"):
                yield from equations(part)
