"""L2: data sets: included in the package, generated, or downloaded from their official sources."""

from metarl.tasks.datasets.dataset import Dataset, Text
from metarl.tasks.datasets.registry import load, load_text, names

__all__ = ["Dataset", "Text", "load", "load_text", "names"]
