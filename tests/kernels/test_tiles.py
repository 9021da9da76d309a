"""Tiled tensors and sequential vmap give the results of the whole computation."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from metarl.kernels.lopt_update import arg_specs, tiles

pytestmark = pytest.mark.kernel


@pytest.mark.parametrize("sizes", [tiles.CPU, tiles.ACCELERATOR], ids=["CPU", "accelerator"])
def test_tiles_divide_and_fit(sizes):
    for shape in {spec.shape for spec in arg_specs.VIT_BASE + arg_specs.GPT2_MEDIUM}:
        tile = tiles.tile_shape(shape, sizes)
        assert all(size % part == 0 for size, part in zip(shape, tile, strict=True))
        assert np.prod(tile) <= sizes.most
        assert np.prod(tile) >= min(np.prod(shape), sizes.row // sizes.slack)


def test_a_prime_number_of_columns_stays_whole():
    assert tiles.tile_shape((8, 4099), tiles.CPU) == (1, 4099)


@pytest.mark.parametrize(
    ("shape", "axes"),
    [((), ()), ((1,), (0,)), ((2,), (0,)), ((11,), (0,)), ((3, 1), (0, 1)), ((13, 6), (0, 1)),
     ((3, 14, 5), (1, 2)), ((2, 3, 4), (0, 1, 2)), ((67, 65), (0, 1)), ((2, 71, 64), (1, 2))],
)  # fmt: skip
@pytest.mark.sampled(4)
def test_means_in_parts(shape, axes):
    rng = np.random.default_rng(0)
    tensor, rows = rng.normal(size=(2, *shape)), rng.normal(size=(3, *[1] * len(shape)))
    made = [tensor * tensor, tensor[:1] * rows]
    want = np.concatenate([x.mean(tuple(1 + a for a in axes), keepdims=True) for x in made])

    def kinds(given):
        tensor, rows = given
        return [tensor * tensor, tensor[:1] * rows]

    given = jnp.float32(tensor), jnp.float32(rows)
    got = tiles.partial_means(kinds, given, shape, axes)
    # of terms of size one, added in parts: their roundings, as in test_lopt_update
    np.testing.assert_allclose(got, want, rtol=2e-6, atol=2e-7 * np.abs(made[1]).max())


def measured(x, given):
    """An elementwise function of several arrays, one of which may be shared."""
    return {"sine": jnp.sin(x) * given["a"], "both": x + given["b"]}


@pytest.mark.parametrize("size", [1, 300, 5000], ids=["all at once", "some", "one by one"])
def test_sequential_vmap_equals_vmap(size):
    """Two batch axes, of which some arrays lack one or both."""
    rng = np.random.default_rng(0)
    x, a, b = rng.normal(size=(6, 4, 3)), rng.normal(size=(4, 3)), rng.normal(size=3)
    run = tiles.sequential_vmap(measured, size)
    over_tasks = jax.vmap(run, (0, {"a": 0, "b": None}))
    program = jax.jit(jax.vmap(over_tasks, (0, {"a": None, "b": None})))
    got = program(jnp.float32(x), {"a": jnp.float32(a), "b": jnp.float32(b)})
    np.testing.assert_allclose(got["sine"], np.sin(x) * a, rtol=1e-6, atol=1e-6)  # a few roundings
    np.testing.assert_allclose(got["both"], x + b, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(("size", "loops"), [(1, 0), (300, 1), (5000, 2)])
def test_groups_of_members_fill_a_tile(size, loops):
    """Number of loops: members of 300 elements run in sequential groups of three."""
    run = tiles.sequential_vmap(lambda x: jnp.sin(x), size)
    program = jax.make_jaxpr(jax.vmap(jax.vmap(run)))(jnp.zeros((4, 3, 2)))
    assert str(program).count("scan[") == loops


def test_accelerators_process_the_whole_batch(monkeypatch):
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert tiles.sequential_vmap(measured, 5000) is measured
    assert tiles.tiling() is tiles.ACCELERATOR
