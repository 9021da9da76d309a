"""A packed loop is `jax.lax.scan`, whatever the arrays are."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from metarl.core.packing import packed_scan


def step(carry, x):
    key, place, clock, image, flag = carry
    key, draw = jax.random.split(key)
    place = place + jax.random.normal(draw, place.shape) * x["scale"]
    following = (key, place, clock + 1, image * 0.5 + clock, ~flag)
    outputs = {"place": place, "clock": clock, "key": draw, "none": (), "sum": jnp.sum(image)}
    return following, {
        **outputs,
        "flags": (flag, clock > 1),
        "vector": place[0, 0] * jnp.arange(3.0),
    }


@pytest.mark.parametrize("batched", [False, True])
def test_it_is_scan(key, batched):
    """The same numbers, whole structure included; `image` is too large to be packed."""

    def run(scan):
        def loop(key, scale):
            image = jnp.ones((40, 40))
            carry = (key, jnp.zeros((2, 2)), jnp.int32(0), image, jnp.bool_(True))
            return scan(step, carry, {"scale": scale})

        scales = jnp.linspace(1.0, 2.0, 5)
        if not batched:
            return jax.jit(loop)(key, scales)
        return jax.jit(jax.vmap(loop, (0, None)))(jax.random.split(key, 3), scales)

    expected, got = run(jax.lax.scan), run(packed_scan)
    assert jax.tree.structure(expected) == jax.tree.structure(got)
    for a, b in zip(jax.tree.leaves(expected), jax.tree.leaves(got), strict=True):
        assert a.dtype == b.dtype
        if jnp.issubdtype(a.dtype, jax.dtypes.prng_key):
            a, b = jax.random.key_data(a), jax.random.key_data(b)
        # Fused otherwise, a multiplication and an addition may round once instead of twice.
        np.testing.assert_allclose(a, b, rtol=1e-6)


def test_gradients_pass(key):
    def total(scan, start):
        end, ys = scan(
            lambda c, x: ((c[0] * x, c[1] + c[0]), c[1]), (start, start), jnp.arange(3.0)
        )
        return end[1] + jnp.sum(ys)

    expected, got = (jax.grad(lambda s, f=f: total(f, s))(2.0) for f in (jax.lax.scan, packed_scan))
    np.testing.assert_allclose(got, expected, rtol=1e-6)
