"""L2: task families (training problems for learned optimizers), by name."""

from metarl.tasks.families.registry import make, names
from metarl.tasks.families.span import Span

__all__ = ["Span", "make", "names"]
