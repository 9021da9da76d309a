"""Maximal-update parametrization: multipliers on top of any optimizer."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from metarl.core.errors import ConfigError
from metarl.optimizers import (
    ParameterInfo,
    describe,
    fan_in_multipliers,
    from_optax,
    mlp_lopt_inner,
    mup,
    scale_by_multipliers,
)

PARAMS = {
    "first": {"kernel": jnp.ones((5, 8)), "bias": jnp.ones(8)},
    "second": {"kernel": jnp.ones((8, 4)), "bias": jnp.ones(4)},
    "conv": jnp.ones((3, 3, 2, 4)),
}


def test_multipliers_of_hidden_matrices_are_one_over_what_feeds_them():
    got = fan_in_multipliers(PARAMS, ("second/kernel", "conv"), scale=2.0, fan_in={"conv": 2})
    assert got == {
        "first": {"kernel": 1.0, "bias": 1.0},
        "second": {"kernel": 2.0 / 8, "bias": 1.0},
        "conv": 2.0 / 2,
    }
    assert fan_in_multipliers(PARAMS, ("conv",))["conv"] == 1 / 18


@pytest.mark.parametrize(
    ("hidden", "message"),
    [("second/kernal", "Did you mean 'second/kernel'"), ("first/bias", "not a hidden matrix")],
)
def test_what_is_no_hidden_matrix_is_refused(hidden, message):
    with pytest.raises(ConfigError, match=message):
        fan_in_multipliers(PARAMS, (hidden,))


def test_updates_are_multiplied_tensor_by_tensor():
    multipliers = fan_in_multipliers(PARAMS, ("second/kernel",))
    tx = optax.chain(optax.sgd(1.0), scale_by_multipliers(multipliers))
    updates, _ = tx.update(PARAMS, tx.init(PARAMS))
    np.testing.assert_array_equal(updates["second"]["kernel"], -1 / 8)
    np.testing.assert_array_equal(updates["second"]["bias"], -1)


def test_half_precision_stays():
    updates = {"w": jnp.full(3, 0.25, jnp.bfloat16)}
    got, _ = scale_by_multipliers((0.5,)).update(updates, optax.EmptyState())
    assert got["w"].dtype == jnp.bfloat16
    np.testing.assert_array_equal(np.float32(got["w"]), 0.125)


def test_another_number_of_tensors_is_refused():
    with pytest.raises(ConfigError, match="2 multipliers for 5 tensors"):
        scale_by_multipliers((1.0, 2.0)).update(PARAMS, optax.EmptyState())


def test_the_inner_optimizer_takes_them_from_the_description(key):
    """Multipliers of a sampled task are arrays, so a vmap over tasks has many."""
    plain = mlp_lopt_inner()
    wrapped = mup(plain)
    assert wrapped.name == "mup_mlp_lopt"
    params = {"a": jnp.ones((2, 3)), "b": jnp.ones(2)}
    theta = wrapped.init(key)
    jax.tree.map(np.testing.assert_array_equal, theta, plain.init(key))
    info = describe(params)

    def updates(optimizer, factors):
        scaled_info = tuple(replace(i, multiplier=f) for i, f in zip(info, factors, strict=True))
        tx = optimizer.transformation(theta, scaled_info, 10)
        return tx.update(params, tx.init(params), params)[0]

    factors = jnp.array([[1.0, 1.0], [0.5, 3.0]])
    got = jax.jit(jax.vmap(lambda f: updates(wrapped, f)))(factors)
    unscaled = jax.jit(lambda: updates(plain, factors[1]))()
    for i, name in enumerate(params):
        for task in range(2):
            expected = factors[task, i] * unscaled[name]
            np.testing.assert_allclose(got[name][task], expected, rtol=1e-6)


def test_it_hands_on_what_learners_measure():
    optimizer = replace(from_optax("sgd", optax.sgd(1.0)), needs_activity=True)
    assert mup(optimizer).needs_activity
    tx = mup(optimizer).transformation((), (ParameterInfo("", 0.0, multiplier=0.5),), 1)
    updates, _ = tx.update(jnp.ones(2), tx.init(jnp.ones(2)), value=1.0)
    np.testing.assert_array_equal(updates, -0.5)
