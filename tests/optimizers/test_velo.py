"""VeLO against float64 NumPy; its progress and loss features, and its errors."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from metarl.core.errors import ConfigError
from metarl.optimizers.lopt.loss_features import (
    init_loss_buffer,
    loss_features,
    loss_rates,
    observe,
)
from metarl.optimizers.parameters import describe
from metarl.optimizers.velo.tensor_lstm import training_progress
from metarl.optimizers.velo.velo import velo, velo_inner
from metarl.optimizers.velo.velo_network import VeLOConfig, velo_init
from tests.optimizers import numpy_velo
from tests.optimizers.uneven import (
    LOSSES,
    SHAPES,
    assert_close,
    float64,
    gradients,
    uneven_tree,
)

CONFIG = VeLOConfig(hidden=6, networks=3)
OLD = VeLOConfig(4, 2, bugged_loss_features=True, bugged_lstm_state=True, validation=True)
NUM_STEPS = 7


def random_theta(config, seed=0):
    """Weights of which none is zero, and whose mixtures are of order one."""
    rng = np.random.default_rng(seed)
    theta = jax.eval_shape(lambda key: velo_init(config, key), jax.random.key(0))
    theta = jax.tree.map(lambda x: np.float32(rng.normal(size=x.shape) * 0.5), theta)
    for name in ("kernel", "bias"):
        theta["controls"][name] = theta["controls"][name] / np.float32(config.mixture_scale)
    return theta


THETA = random_theta(CONFIG)


@pytest.fixture(scope="module")
def update():
    """One compiled update: `(gradient, state, params, loss, num_steps) -> (updates, state)`."""

    @jax.jit
    def run(gradient, state, params, loss, num_steps):
        return velo(THETA, CONFIG, num_steps).update(gradient, state, params, value=loss)

    return run


def start(params):
    return velo(THETA, CONFIG, NUM_STEPS).init(params)


def test_updates_against_numpy_over_steps(update):
    """Moments, loss, networks and steps on tensors of rank 0 to 4."""
    params = uneven_tree(0)
    state = start(params)
    oracle = numpy_velo.VeLO(THETA, CONFIG, SHAPES, NUM_STEPS)
    for gradient, loss in zip(gradients(), LOSSES, strict=True):
        expected = oracle.updates(float64(params), float64(gradient), loss)
        updates, state = update(gradient, state, params, loss, NUM_STEPS)
        assert_close(updates, expected)
        params = optax.apply_updates(params, updates)
    np.testing.assert_allclose(state.tensors.hidden, oracle.recurrent.h, atol=1e-5)
    np.testing.assert_allclose(state.tensors.cell, oracle.recurrent.c, atol=1e-5)


def test_variants_that_old_weights_need():
    """All loss averages have a horizon of 10 steps, the LSTM state stays, and there is a flag."""
    shapes = {"b_vector": (3,)}
    theta, params = random_theta(OLD), uneven_tree(0, shapes=shapes)
    tx = velo(theta, OLD, 500)
    step = jax.jit(lambda g, s, p, loss: tx.update(g, s, p, value=loss))
    state = began = tx.init(params)
    oracle = numpy_velo.VeLO(theta, OLD, shapes, 500)
    for i, loss in enumerate(LOSSES):
        gradient = uneven_tree(i + 1, shapes=shapes)
        expected = oracle.updates(float64(params), float64(gradient), loss)
        updates, state = step(gradient, state, params, loss)
        assert_close(updates, expected)
    jax.tree.map(np.testing.assert_array_equal, state.tensors, began.tensors)


def test_progress_saturates_after_the_end(update):
    """Updates beyond `num_steps` are those of the end, whatever the number of them."""
    params, gradient = uneven_tree(0), uneven_tree(1)
    state = start(params)

    def at(iteration, num_steps=NUM_STEPS):
        moved = state._replace(iteration=jnp.int32(iteration))
        return update(gradient, moved, params, 1.0, num_steps)[0]

    end = at(NUM_STEPS)
    jax.tree.map(np.testing.assert_array_equal, end, at(100 * NUM_STEPS))
    assert any(np.any(end[n] != x) for n, x in at(NUM_STEPS - 1).items())
    # only the fraction counts
    jax.tree.map(np.testing.assert_array_equal, end, at(2 * NUM_STEPS, 2 * NUM_STEPS))


@pytest.mark.parametrize("step", [0, 3, 7, 10, 25])
def test_progress_against_numpy(step):
    got = training_progress(jnp.int32(step), 10)
    np.testing.assert_allclose(got, numpy_velo.progress(step, 10), atol=1e-6)
    if step >= 10:
        np.testing.assert_allclose(got, np.tanh(10 - 10 * np.array(numpy_velo.POINTS)), atol=1e-6)


@jax.jit
def _seen(losses, num_steps):
    rates = loss_rates(num_steps)

    def step(buffer, loss):
        buffer = observe(buffer, loss, rates)
        return buffer, loss_features(buffer, rates)

    return jax.lax.scan(step, init_loss_buffer(), losses)[1]


def seen(losses, num_steps):
    """Features after each of at most 40 losses."""
    losses = np.float32(losses)
    return _seen(np.pad(losses, (0, 40 - len(losses))), num_steps)[: len(losses)]


@pytest.mark.parametrize("num_steps", [1, 10, 3000])
def test_loss_features_against_numpy(num_steps):
    """Over forty losses that fall, jump and explode."""
    rng = np.random.default_rng(num_steps)
    losses = 2 + 30 * np.exp(-np.arange(40) / 9) * rng.uniform(0.5, 1.5, 40)
    losses[[10, 30]] = 1e4
    oracle = numpy_velo.Losses(num_steps)
    got = seen(losses, num_steps)
    for i, loss in enumerate(losses):
        oracle.see(loss)
        # four roundings of a mean, magnified by the division by a difference of means
        room = 4 * np.finfo(np.float32).eps * oracle.conditions()
        assert np.all(np.abs(got[i] - oracle.features()) <= 1e-6 + room), i
    assert np.ptp(got) > 0.5


def test_loss_features_do_not_depend_on_units():
    losses = np.array([3.0, 2.0, 4.0, 1.0, 2.5, 0.5, 3.5])
    np.testing.assert_array_equal(seen(losses, 100), seen(8 * losses, 100))


def test_losses_that_are_not_finite_count_as_the_largest():
    """Twice the largest mean, which is corrected as if this loss were in it; none, if first."""
    fine = [3.0, 2.0, 4.0, 1.0]
    decay = np.exp(-1 / 10)
    cut = 2 * 3.0 * (1 - decay) / (1 - decay**2)
    for bad in (np.nan, np.inf, -np.inf):
        np.testing.assert_allclose(
            seen([3.0, bad, *fine], 100), seen([3.0, cut, *fine], 100), atol=1e-5
        )
        got = seen([bad, *fine], 100)
        np.testing.assert_array_equal(got[1:], seen(fine, 100))
        assert np.all(np.isfinite(got))


def test_numbers_that_are_not_finite_leave_no_trace(update):
    params, gradient = uneven_tree(0), uneven_tree(1)
    gradient["c_matrix"][1, 1], gradient["d_cube"][0, 0, 0] = np.nan, np.inf
    updates, state = update(gradient, start(params), params, np.nan, NUM_STEPS)
    for leaf in jax.tree.leaves((updates, state)):
        assert np.all(np.isfinite(leaf))


def test_tensors_without_elements_are_not_seen():
    """They get no row, and an empty tree is fine."""
    params = uneven_tree(0)
    tx = velo(THETA, CONFIG, NUM_STEPS)
    empty = {"nothing": jnp.zeros((0, 3))}
    assert tx.init({**params, **empty}).tensors.hidden.shape == (len(params), CONFIG.hidden)
    updates, state = tx.update({}, tx.init({}), {}, value=1.0)
    assert updates == {}
    assert state.iteration == 1
    updates, _ = tx.update(empty, tx.init(empty), empty, value=1.0)
    assert updates["nothing"].shape == (0, 3)


@pytest.mark.parametrize(
    ("num_steps", "message"),
    [
        (None, "velo needs num_steps"),
        (0, "at least 1, got 0"),
        (10.5, "integer, got float"),
        (np.arange(3), r"integer, got int.* of shape \(3,\)"),
    ],
)
def test_a_bad_number_of_steps_is_refused(num_steps, message):
    with pytest.raises(ConfigError, match=message):
        velo(THETA, CONFIG, num_steps)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "lacks the argument value"),
        ({"value": np.ones(3)}, r"scalar loss, got an array of shape \(3,\)"),
        ({"value": 1.0, "params": None}, "lacks the argument params"),
    ],
)
def test_bad_arguments_are_refused(given, message):
    params = {"w": jnp.ones(2)}
    tx = velo(THETA, CONFIG, NUM_STEPS)
    with pytest.raises(ConfigError, match=message):
        tx.update(params, tx.init(params), **{"params": params, **given})


def test_a_bad_architecture_is_refused():
    with pytest.raises(ConfigError, match="networks must be positive"):
        VeLOConfig(networks=0)


def test_the_inner_optimizer_takes_a_traced_number_of_steps(key):
    optimizer = velo_inner(CONFIG)
    shapes = jax.tree.map(jnp.shape, velo_init(CONFIG, key))
    assert jax.tree.map(jnp.shape, optimizer.init(key)) == shapes
    params = {"w": jnp.ones(2)}

    def updates(num_steps):
        tx = optimizer.transformation(THETA, describe(params), num_steps)
        return tx.update(params, tx.init(params), params, value=1.0)[0]

    assert jax.eval_shape(updates, jnp.int32(5))["w"].shape == (2,)
