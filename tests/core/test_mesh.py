"""Sharding and chunking a batch changes neither values nor random numbers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from metarl.core.mesh import Layout, make_mesh, on_mesh


def draw(key, scale):
    return {"x": jax.random.bits(key, (3,)), "n": jnp.int32(scale)}


@pytest.mark.parametrize(("devices", "chunk"), [(1, None), (1, 2), (2, None), (2, 1), (2, 2)])
@pytest.mark.parametrize("total", [1, 2, 5, 8])
@pytest.mark.sampled(7)
def test_layouts_agree_to_the_bit(key, devices, chunk, total):
    """Integers only, so even the bits agree; 5 does not divide by 2 devices or chunks."""
    keys, scales = jax.random.split(key, total), jnp.arange(1.0, total + 1)
    expected = [draw(k, s) for k, s in zip(keys, scales, strict=True)]
    layout = Layout(devices, chunk)
    program = on_mesh(lambda k, s: layout.sharded_vmap(draw)(k, s), make_mesh(devices))
    result = jax.device_get(program(keys, scales))
    assert result["x"].shape == (total, 3)
    for i, one in enumerate(expected):
        np.testing.assert_array_equal(result["x"][i], one["x"])
        assert result["n"][i] == one["n"]


@pytest.mark.parametrize("bad", [{"devices": 0}, {"chunk": 0}, {"chunk": -3}])
def test_bad_layouts_are_refused(bad):
    with pytest.raises(ValueError, match="must be positive"):
        Layout(**bad)


def test_more_devices_than_present_are_refused():
    with pytest.raises(ValueError, match="available"):
        make_mesh(1000)


def square_error(theta, x, y):
    """One entry's loss; its gradient in closed form is `2 x (w x - y)`."""
    error = theta["w"] * x - y
    return error**2, {"error": error}


@pytest.mark.parametrize(("devices", "chunk"), [(1, None), (1, 2), (2, None), (2, 1), (2, 2)])
@pytest.mark.parametrize("total", [1, 2, 5, 8])
@pytest.mark.sampled(7)
def test_the_gradient_of_a_mean_whatever_the_layout(devices, chunk, total):
    rng = np.random.default_rng(total)
    x, y = rng.normal(size=(2, total))
    layout = Layout(devices, chunk)
    program = on_mesh(layout.mean_gradient(square_error), make_mesh(devices))
    gradient, losses, rest, counted = program(
        {"w": jnp.float32(0.5)}, jnp.float32(x), jnp.float32(y)
    )
    error = 0.5 * x - y
    # Sums of at most eight terms of order one.
    tolerance = 8 * np.finfo(np.float32).eps * (1 + np.abs(error).max() * np.abs(x).max())
    np.testing.assert_allclose(gradient["w"], np.mean(2 * x * error), rtol=0, atol=8 * tolerance)
    np.testing.assert_allclose(losses, error**2, rtol=0, atol=8 * tolerance)
    np.testing.assert_allclose(rest["error"], error, rtol=0, atol=tolerance)
    assert counted.shape == (total,)
    assert np.all(counted)


@pytest.mark.parametrize(("devices", "chunk"), [(1, None), (1, 2), (2, None), (2, 1), (2, 2)])
@pytest.mark.parametrize("total", [1, 5, 8])
def test_sums_over_a_batch_whatever_the_layout(devices, chunk, total):
    """Of integers, so that the order of a sum does not show."""
    x = np.arange(1, total + 1, dtype=np.int32)
    layout = Layout(devices, chunk)
    zero = {"square": jnp.zeros(2, jnp.int32)}

    def one(x):
        return {"square": jnp.array([x**2, -x])}, (x + 1, jnp.stack([x, x]))

    total_, (one_more, twice) = on_mesh(layout.sharded_sum(one, zero), make_mesh(devices))(x)
    np.testing.assert_array_equal(total_["square"], [np.sum(x**2), -np.sum(x)])
    np.testing.assert_array_equal(one_more, x + 1)
    np.testing.assert_array_equal(twice, np.stack([x, x], axis=1))


def test_padding_of_the_last_chunk_is_not_summed():
    """Five entries in chunks of four: the last is there four times, and counts once."""
    count = Layout(chunk=4).sharded_sum(lambda x: (x, x), jnp.int32(0))
    assert jax.jit(count)(jnp.array([1, 1, 1, 1, 10]))[0] == 14


def test_a_chunk_that_diverged_is_left_out_of_the_mean():
    x = jnp.array([1.0, 2.0, 3.0, np.nan, 5.0])
    y = jnp.zeros(5)
    gradient, losses, _, counted = jax.jit(Layout(chunk=2).mean_gradient(square_error))(
        {"w": jnp.float32(1.0)}, x, y
    )
    # Chunks (1, 2), (3, nan), (5): the second is dropped.
    np.testing.assert_allclose(gradient["w"], 2 * (1 + 4 + 25) / 3, rtol=1e-6)  # three roundings
    np.testing.assert_array_equal(counted, [True, True, False, False, True])
    assert np.isnan(losses[3])
    assert np.isfinite(losses[np.array([0, 1, 2, 4])]).all()
