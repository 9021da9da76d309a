"""Networks with named outputs: shapes, and a table that is a linear layer on one-hot inputs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from metarl.networks.heads import Heads, HeadsConfig

OUTPUTS = (("logits", (3,)), ("value", ()), ("matrix", (2, 5)))


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("states", [None, 6])
def test_shapes(key, shared, states):
    network = Heads(
        HeadsConfig(hidden=(4,), shared_torso=shared), OUTPUTS, 0 if states else 1, states
    )
    obs = jnp.zeros((7, 2), jnp.int32) if states else jnp.zeros((7, 2, 6))
    params = network.init(key, obs)["params"]
    outputs = network.apply({"params": params}, obs)
    assert {name: x.shape for name, x in outputs.items()} == {
        "logits": (7, 2, 3),
        "value": (7, 2),
        "matrix": (7, 2, 2, 5),
    }
    torsos = {name for name in params if name.endswith("torso")}
    assert torsos == ({"torso"} if shared else {f"{name}_torso" for name, _ in OUTPUTS})


def test_a_table_is_a_linear_layer_on_one_hot_inputs(key):
    config = HeadsConfig(hidden=(), bias=False)
    table = Heads(config, OUTPUTS, 0, states=6)
    linear = Heads(config, OUTPUTS, 1)
    states = jnp.arange(6)
    tables = table.init(key, states)["params"]
    matrices = jax.tree.map(lambda x: {"kernel": x}, {k: v["embedding"] for k, v in tables.items()})
    found = table.apply({"params": tables}, states)
    expected = linear.apply({"params": matrices}, jnp.eye(6))
    for name, _ in OUTPUTS:
        # A product with zeros and a single one is exact.
        np.testing.assert_array_equal(found[name], expected[name])
