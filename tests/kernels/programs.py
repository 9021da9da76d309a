"""Inspection of jaxprs."""


def equations(program):
    """Yields all equations of a jaxpr and its sub-jaxprs."""
    for eqn in getattr(program, "jaxpr", program).eqns:
        yield eqn
        for part in eqn.params.values():
            if hasattr(part, "jaxpr"):
                yield from equations(part)
