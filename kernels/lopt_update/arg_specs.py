"""Argument shapes for tests, lowering and benchmarks of the update."""

from dataclasses import dataclass


@dataclass(frozen=True)
class ArgSpec:
    """Argument shapes of one call.

    Attributes:
      name: description of the call.
      shape: shape of the tensor.
      batch: leading axes over which the call is vmapped; each batch member has its own weights.
      dtype: dtype of parameter and gradient.
    """

    name: str
    shape: tuple[int, ...]
    batch: tuple[int, ...] = ()
    dtype: str = "float32"


SMALL = (
    ArgSpec("scalar", ()),
    ArgSpec("vector", (5,)),
    ArgSpec("one element", (1, 1)),
    ArgSpec("square matrix", (4, 4)),
    ArgSpec("one column", (6, 1)),
    ArgSpec("kernel of a convolution", (3, 3, 2, 5)),
    ArgSpec("half precision", (7, 3), dtype="bfloat16"),
    ArgSpec("tasks", (6, 4), batch=(3,)),
    ArgSpec("population of tasks", (6, 4), batch=(2, 3)),
)
"""Smallest example of every kind of call."""

TILED = (
    ArgSpec("rows of a prime number of columns", (70, 61)),
    ArgSpec("columns in parts", (3, 2050)),
    ArgSpec("prime vector", (4099,)),
    ArgSpec("large kernel of a convolution", (3, 3, 24, 32)),
    ArgSpec("tasks of tiles", (64, 72), batch=(2,)),
)
"""Calls that the reference tiles."""

VIT_BASE = (
    ArgSpec("patch embedding", (16, 16, 3, 768)),
    ArgSpec("attention in", (768, 2304)),
    ArgSpec("attention out", (768, 768)),
    ArgSpec("hidden in", (768, 3072)),
    ArgSpec("hidden out", (3072, 768)),
    ArgSpec("head", (768, 1000)),
    ArgSpec("bias", (768,)),
)
"""Distinct tensor shapes of ViT-B/16."""

GPT2_MEDIUM = (
    ArgSpec("tokens", (50257, 1024)),
    ArgSpec("positions", (1024, 1024)),
    ArgSpec("attention in", (1024, 3072)),
    ArgSpec("hidden in", (1024, 4096)),
    ArgSpec("hidden out", (4096, 1024)),
    ArgSpec("bias", (1024,)),
)
"""Distinct tensor shapes of GPT-2 medium."""

POPULATION = (
    ArgSpec("first layer of 512 small networks", (64, 32), batch=(512,)),
    ArgSpec("last layer of 512 small networks", (32, 10), batch=(512,)),
    ArgSpec("tasks under perturbed weights", (64, 32), batch=(32, 16)),
)
"""Batched calls of meta-training."""
