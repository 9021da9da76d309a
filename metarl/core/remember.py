"""What backpropagation remembers of a step whose other intermediate values it computes again."""

from collections.abc import Callable
from typing import Any

import jax
from jax.ad_checkpoint import checkpoint_name

from metarl.core.types import PyTree

_NAME = "remembered"


def remembered(tree: PyTree) -> PyTree:
    """Marks arrays that took long to make and are small, such as what an agent lived through.

    Inside a `rematerialised` function they are kept; elsewhere the mark is of no effect.
    """
    return jax.tree.map(lambda x: checkpoint_name(x, _NAME), tree)


def rematerialised(step: Callable[..., Any]) -> Callable[..., Any]:
    """The function, whose backward pass computes it again, but for what is marked `remembered`.

    For bodies of `jax.lax.scan`: outside a loop the compiler may undo it.
    """
    policy = jax.checkpoint_policies.save_only_these_names(_NAME)
    return jax.checkpoint(step, prevent_cse=False, policy=policy)
