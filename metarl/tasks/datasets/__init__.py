"""L2: data sets, shipped, made from a recipe, or downloaded from their official places."""

from metarl.tasks.datasets.dataset import Dataset, Text
from metarl.tasks.datasets.registry import load, load_text, names

__all__ = ["Dataset", "Text", "load", "load_text", "names"]
