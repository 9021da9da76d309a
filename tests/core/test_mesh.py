"""Laying a batch over devices and chunks changes neither values nor random numbers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from metarl.core.mesh import Layout, make_mesh, on_mesh


def draw(key, scale):
    return {"x": jax.random.bits(key, (3,)), "n": jnp.int32(scale)}


@pytest.mark.parametrize(("devices", "chunk"), [(1, None), (1, 2), (2, None), (2, 1), (2, 2)])
@pytest.mark.parametrize("total", [1, 2, 5, 8])
def test_layouts_agree_to_the_bit(key, devices, chunk, total):
    """Integers only, so even the bits agree; 5 does not divide by 2 devices or chunks."""
    keys, scales = jax.random.split(key, total), jnp.arange(1.0, total + 1)
    expected = [draw(k, s) for k, s in zip(keys, scales, strict=True)]
    layout = Layout(devices, chunk)
    program = on_mesh(lambda k, s: layout.spread(draw)(k, s), make_mesh(devices))
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
    with pytest.raises(ValueError, match="present"):
        make_mesh(1000)
