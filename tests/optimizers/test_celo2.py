"""Celo2: against float64 NumPy; Newton and Schulz against singular values; who moves what."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from metarl.core.errors import ConfigError
from metarl.optimizers.celo.celo2 import (
    Celo2Config,
    _normalized_direction,
    celo2,
    celo2_init,
    celo2_inner,
    scale_by_celo2,
    vectors,
)
from metarl.optimizers.celo.newton_schulz import newton_schulz
from metarl.optimizers.parameters import describe
from tests.optimizers import numpy_velo
from tests.optimizers.numpy_lopt import layers_of
from tests.optimizers.uneven import SHAPES, assert_close, float64, gradients, uneven_tree

CONFIG = Celo2Config()
RATE, DECAY, MULTIPLIER = 0.02, 0.3, 5.0


def random_theta(seed=0):
    """Weights of which none is zero."""
    rng = np.random.default_rng(seed)
    theta = jax.eval_shape(lambda key: celo2_init(CONFIG, key), jax.random.key(0))
    return jax.tree.map(lambda x: np.float32(rng.normal(size=x.shape) * 0.5), theta)


THETA = random_theta()
LAYERS = layers_of(THETA["network"])


@pytest.fixture(scope="module")
def update():
    """One compiled update, with the learned direction for the vector too, AdamW for the scalar."""
    by_adam = {name: name == "a_scalar" for name in SHAPES}
    tx = celo2(
        THETA,
        learning_rate=lambda count: RATE * (count + 1.0),
        weight_decay=DECAY,
        by_adam=by_adam,
        adam_multiplier=MULTIPLIER,
    )
    return tx, jax.jit(lambda g, s, p: tx.update(g, s, p))


def test_updates_against_numpy_over_steps(update):
    tx, step = update
    params = uneven_tree(0)
    state = tx.init(params)
    tensors = numpy_velo.tensors_of(SHAPES, rms=0.95)
    m = v = 0.0
    for t, gradient in enumerate(gradients(), 1):
        expected = {}
        for name, tensor in tensors.items():
            p, g = np.float64(params[name]), np.float64(gradient[name])
            if name == "a_scalar":
                g = np.clip(g, -1000, 1000)
                m, v = 0.9 * m + 0.1 * g, 0.95 * v + 0.05 * g * g
                corrected = np.sqrt(v / (1 - 0.95**t)) + 1e-8
                direction, rate = m / (1 - 0.9**t) / corrected, MULTIPLIER * RATE * t
            else:
                direction = numpy_velo.celo2_direction(tensor, LAYERS, p, g)
                rate = RATE * t
            expected[name] = -rate * (direction + DECAY * p)
        updates, state = step(gradient, state, params)
        # bfloat16 has no part here, but five iterations amplify float32's rounding of small
        # singular values 3.4445^5 = 485 times
        assert_close(updates, expected, rtol=1e-3)
        params = optax.apply_updates(params, updates)


def test_steps_of_matrices_have_unit_size_and_singular_values(update):
    """Before learning rate and decay: root mean square 1 over the last two axes."""
    tx, step = update
    params = jax.tree.map(np.zeros_like, uneven_tree(0))
    updates, _ = step(uneven_tree(1), tx.init(params), params)
    for name, u in updates.items():
        if u.ndim >= 1 and name != "a_scalar":
            square = np.mean(np.square(u / RATE), axis=tuple(range(u.ndim))[-2:])
            np.testing.assert_allclose(square, 1.0, rtol=1e-4, err_msg=name)
    values = np.linalg.svd(updates["d_cube"], compute_uv=False)
    assert np.all(values.max(-1) < 2.5 * values.min(-1))


@pytest.mark.parametrize("shape", [(6, 6), (4, 9), (9, 4), (1, 5), (2, 3, 4)])
def test_newton_schulz_against_singular_values(shape):
    """It applies a polynomial to singular values and leaves singular vectors alone."""
    matrix = np.random.default_rng(0).normal(size=shape)
    got = newton_schulz(jnp.asarray(matrix, jnp.float32))
    np.testing.assert_allclose(got, numpy_velo.orthogonalised(matrix), atol=1e-4)


def test_newton_schulz_brings_singular_values_near_one():
    """Over a range of a hundred, from a norm of a million."""
    rng = np.random.default_rng(0)
    u, v = (np.linalg.qr(rng.normal(size=(8, 8)))[0] for _ in range(2))
    matrix = 1e6 * u @ np.diag(np.geomspace(1, 1e-2, 8)) @ v
    got = np.linalg.svd(newton_schulz(jnp.asarray(matrix, jnp.float32)), compute_uv=False)
    assert got.min() > 0.6
    assert got.max() < 1.3
    np.testing.assert_array_equal(newton_schulz(jnp.zeros((3, 2))), 0)


def test_a_collapsed_kernel_is_a_matrix():
    """Its last axis against all others, in moments, features and step alike."""
    shape, matrix = {"k": (2, 2, 3)}, {"k": (4, 3)}
    params, gradient = ({"k": np.random.default_rng(i).normal(size=(2, 2, 3))} for i in range(2))
    params, gradient = jax.tree.map(np.float32, (params, gradient))
    tx = scale_by_celo2(THETA, replace(CONFIG, collapse=True))
    got = jax.jit(lambda g, p: tx.update(g, tx.init(p), p)[0])(gradient, params)
    (tensor,) = numpy_velo.tensors_of(matrix, rms=0.95).values()
    p, g = (np.float64(x["k"]).reshape(4, 3) for x in (params, gradient))
    expected = numpy_velo.celo2_direction(tensor, LAYERS, p, g)
    assert_close(got, {"k": expected.reshape(shape["k"])}, rtol=1e-3)


def test_celo2_base_has_no_orthogonal_step():
    shapes = {"c_matrix": SHAPES["c_matrix"]}
    params, gradient = uneven_tree(0, shapes=shapes), uneven_tree(1, shapes=shapes)
    tx = scale_by_celo2(THETA, replace(CONFIG, orthogonal=False))
    got = jax.jit(lambda g, p: tx.update(g, tx.init(p), p)[0])(gradient, params)
    (tensor,) = numpy_velo.tensors_of(shapes, rms=0.95).values()
    p, g = float64(params)["c_matrix"], float64(gradient)["c_matrix"]
    assert_close(got, {"c_matrix": numpy_velo.celo2_direction(tensor, LAYERS, p, g, False)})


def test_a_direction_of_one_element_has_unit_size():
    direction = _normalized_direction(jnp.full((1, 1), -3.0), replace(CONFIG, orthogonal=False))
    # 1e-5 is added to the square, 9; then three roundings.
    np.testing.assert_allclose(direction, [[-1.0]], rtol=1e-5 / 18 + 3e-7)


def test_vectors_are_updated_by_adam_by_default(key):
    params = {
        "w": jnp.ones((2, 3), jnp.bfloat16),
        "b": jnp.ones(3, jnp.bfloat16),
        "s": jnp.ones(()),
    }
    assert vectors(params) == {"w": False, "b": True, "s": True}
    tx = celo2_inner().transformation(celo2_inner().init(key), describe(params), 5)
    gradient = {**params, "b": params["b"].at[0].set(jnp.nan)}
    updates, _ = jax.jit(lambda g, p: tx.update(g, tx.init(p), p, value=1.0))(gradient, params)
    # one step of Adam is the sign of the gradient; what is no number counts as zero
    np.testing.assert_allclose(np.float32(updates["b"]), [0, -1e-3, -1e-3], rtol=0.01)
    np.testing.assert_allclose(updates["s"], -1e-3, rtol=1e-5)
    assert jax.tree.map(lambda x: x.dtype, updates) == jax.tree.map(lambda x: x.dtype, params)
    square = np.mean(np.square(np.float32(updates["w"]) / 1e-3))
    np.testing.assert_allclose(square, 1.0, rtol=0.02)  # bfloat16 has 8 bits


def test_bad_settings_are_refused():
    with pytest.raises(ConfigError, match="width must be positive"):
        Celo2Config(width=0)
    with pytest.raises(ConfigError, match="weight_decay must lie"):
        celo2_inner(weight_decay=-1.0)
    tx = scale_by_celo2(THETA)
    with pytest.raises(ConfigError, match="floating"):
        tx.init({"w": jnp.ones((2, 2), jnp.int32)})
    params = {"w": jnp.ones((2, 2))}
    with pytest.raises(ConfigError, match="lacks the argument params"):
        tx.update(params, tx.init(params))


def test_empty_trees_and_tensors(key):
    tx = celo2(celo2_init(CONFIG, key))
    for params in ({}, {"w": jnp.zeros((0, 3)), "b": jnp.zeros(0)}):
        updates, _ = tx.update(params, tx.init(params), params)
        assert jax.tree.map(jnp.shape, updates) == jax.tree.map(jnp.shape, params)
