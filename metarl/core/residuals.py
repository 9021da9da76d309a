"""Checkpointed residuals: which intermediate values the backward pass of a step keeps."""

from collections.abc import Callable
from typing import Any

import jax
from jax.ad_checkpoint import checkpoint_name

from metarl.core.types import PyTree

_NAME = "saved_residual"


def save_residuals(tree: PyTree) -> PyTree:
    """Marks arrays that `checkpointed` functions store for the backward pass.

    Meant for small arrays that are expensive to compute, such as a rollout. Outside a
    `checkpointed` function the mark has no effect.
    """
    return jax.tree.map(lambda x: checkpoint_name(x, _NAME), tree)


def checkpointed(step: Callable[..., Any]) -> Callable[..., Any]:
    """Wraps a function so that its backward pass stores only what `save_residuals` marks.

    All other intermediate values are recomputed. For bodies of `jax.lax.scan`: outside a loop the
    compiler may undo it.
    """
    policy = jax.checkpoint_policies.save_only_these_names(_NAME)
    return jax.checkpoint(step, prevent_cse=False, policy=policy)
