"""Saved residuals are computed once, others again; gradients are those of the formula."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from metarl.core.residuals import checkpointed, save_residuals

STEPS = 3


def gradient(mark, made):
    """Of `x_K` with respect to c, where `x_k = c x_{k-1} w_k` and `w_k` is expensive."""

    def slow(k):
        made.append(int(k))
        return np.float32(k + 2.0)

    def step(x, inputs):
        c, k = inputs
        w = jax.pure_callback(slow, jax.ShapeDtypeStruct((), jnp.float32), k)
        return c * x * mark(jax.lax.stop_gradient(w)), None

    def last(c):
        inputs = (jnp.broadcast_to(c, STEPS), jnp.arange(STEPS))
        return jax.lax.scan(checkpointed(step), jnp.float32(1.0), inputs)[0]

    return jax.jit(jax.grad(last))(jnp.float32(1.5)).block_until_ready()


@pytest.mark.parametrize(("mark", "times"), [(save_residuals, 1), (lambda x: x, 2)])
def test_only_unmarked_values_are_recomputed(mark, times):
    made = []
    found = gradient(mark, made)
    assert sorted(made) == sorted(list(range(STEPS)) * times)
    # d/dc c^3 (2 * 3 * 4) at c = 1.5, of half a dozen rounded products.
    np.testing.assert_allclose(found, 3 * 1.5**2 * 24, rtol=1e-6)


def test_the_mark_changes_no_value():
    tree = {"a": jnp.arange(3), "b": (jnp.float32(2.0), jnp.array([True]))}
    jax.tree.map(np.testing.assert_array_equal, save_residuals(tree), tree)
