"""OPEN as an optax transformation: against float64 NumPy, and as optax wants one to behave."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from metarl.core.errors import ConfigError
from metarl.optimizers import (
    OpenNetworkConfig,
    ParameterInfo,
    UpdateContext,
    fixed,
    load_open,
    open_inner_optimizer,
    open_optimizer,
)
from metarl.optimizers.open.open_network import from_vector
from tests.optimizers import numpy_open
from tests.optimizers.weights import random_theta, released

THETA = random_theta()
INFO = (
    ParameterInfo("x", 0.0),
    ParameterInfo("x", 0.25, units="conv"),
    ParameterInfo("y", 0.5),
    ParameterInfo("y", 1.0, units="dense"),
)
SCALES = {"a_scalar": 1e3, "b_conv": 1e-4, "c_vector": 1.0, "d_matrix": 30.0}
SHAPES = {"a_scalar": (), "b_conv": (2, 3, 4), "c_vector": (3,), "d_matrix": (5, 2)}
GRADIENT_SCALES = (1e-7, 1e-3, 1.0, 1e3, 1e-2)
STEP = 1e-3


def random_tree(seed, scale):
    rng = np.random.default_rng(seed)
    tree = {k: np.float32(rng.normal(size=s) * SCALES[k] * scale) for k, s in SHAPES.items()}
    tree["d_matrix"][0] = 0.0  # sign 0 and log(1e-13)
    return tree


def context(step):
    rng = np.random.default_rng(100 + step)
    activity = {"conv": rng.uniform(size=4), "dense": np.array([0.0, rng.uniform()])}
    activity = {name: np.float32(value) for name, value in activity.items()}
    progress = np.float32(step / (len(GRADIENT_SCALES) - 1))
    return UpdateContext(progress, np.float32(step % 2), jax.random.key(step), activity)


@jax.jit
def run_step(params, state, gradient, given):
    tx = open_optimizer(THETA, INFO)
    updates, state = tx.update(gradient, state, params, **given._asdict())
    return updates, optax.apply_updates(params, updates), state


def update(tx, gradient, params, **given):
    """The first update."""
    return jax.jit(lambda g, p, given: tx.update(g, tx.init(p), p, **given)[0])(
        gradient, params, given
    )


def test_updates_against_numpy_over_steps():
    """Features, recurrent states and steps, on tensors of rank 0 to 3 and very different scales."""
    params = random_tree(0, 1.0)
    state = open_optimizer(THETA, INFO).init(params)
    layers = {name: about.layer for name, about in zip(params, INFO, strict=True)}
    oracle = numpy_open.Optimizer(THETA, params, layers)
    for step, scale in enumerate(GRADIENT_SCALES):
        gradient, given = random_tree(1 + step, scale), context(step)
        activity = dict(zip(params, (given.activity.get(i.units) for i in INFO), strict=True))
        expected = oracle.updates(
            params, gradient, float(given.progress), float(given.epoch_progress), activity
        )
        updates, params, state = run_step(params, state, gradient, given)
        for name, got in updates.items():
            assert got.shape == SHAPES[name]
            # outputs of order 1 times STEP; 1e-4 of that is a hundred times what float32 loses in
            # one pass, since layer normalisation and recurrence amplify it
            np.testing.assert_allclose(got, expected[name], atol=1e-4 * STEP, err_msg=name)
        size = np.abs(np.concatenate([np.ravel(u) for u in updates.values()]))
        assert size.max() > 0.1 * STEP  # the tolerance means something


def test_a_default_description_is_one_network_without_noise():
    params, gradient = random_tree(0, 1.0), random_tree(1, 1.0)
    got = update(open_optimizer(THETA), gradient, params, progress=0.5, epoch_progress=0.0)
    oracle = numpy_open.Optimizer(THETA, params, dict.fromkeys(params, 0.0))
    expected = oracle.updates(params, gradient, 0.5, 0.0, dict.fromkeys(params))
    for name in params:
        np.testing.assert_allclose(got[name], expected[name], atol=1e-4 * STEP, err_msg=name)


def noise_only():
    """A network whose outputs are 0, 0, 1 whatever it sees."""
    config = OpenNetworkConfig()
    theta = from_vector(config, np.zeros(config.size, np.float32))
    theta["dense_2_bias"] = np.float32([0, 0, 1])
    return theta


def test_noise_is_standard_normal_where_it_may_be(key):
    params = {"quiet": jnp.zeros(1000), "wild": jnp.zeros((50, 80))}
    info = (ParameterInfo("x", 0.0), ParameterInfo("y", 0.0, noisy=True))
    tx = open_optimizer(noise_only(), info)
    updates = update(tx, params, params, progress=0.0, epoch_progress=0.0, key=key)
    quiet, wild = np.asarray(updates["quiet"]) / STEP, np.asarray(updates["wild"]) / STEP
    np.testing.assert_array_equal(quiet, quiet[0])  # only the mean of all
    np.testing.assert_allclose(wild.sum() + quiet.sum(), 0, atol=1e-3)
    np.testing.assert_allclose(quiet[0], -(wild - quiet[0]).sum() / 5000, rtol=1e-3, atol=1e-6)
    # five standard errors of mean and standard deviation of 4000 draws
    np.testing.assert_allclose((wild - quiet[0]).mean(), 0, atol=5 / np.sqrt(4000))
    np.testing.assert_allclose(wild.std(), 1, atol=5 / np.sqrt(8000))


def test_other_keys_are_other_noise(key):
    params = {"w": jnp.zeros(8)}
    tx = open_optimizer(noise_only(), (ParameterInfo("x", 0.0, noisy=True),))

    keys = jnp.stack([key, key, jax.random.key(1)])
    first, again, other = jax.vmap(
        lambda k: update(tx, params, params, progress=0.0, epoch_progress=0.0, key=k)["w"]
    )(keys)
    np.testing.assert_array_equal(first, again)
    assert not np.allclose(first, other)


def test_scan_keeps_structure_and_dtypes_of_mixed_precision():
    """Parameters in bfloat16 get bfloat16 updates; the memory stays float32."""
    params = {"w": jnp.ones((3, 2), jnp.bfloat16), "b": jnp.ones((), jnp.float32)}
    tx = open_optimizer(THETA)

    def step(carry, _):
        params, state = carry
        updates, state = tx.update(params, state, params, progress=0.0, epoch_progress=0.0)
        return (optax.apply_updates(params, updates), state), updates

    (last, state), updates = jax.jit(lambda c: jax.lax.scan(step, c, None, 3))(
        (params, tx.init(params))
    )
    assert updates["w"].dtype == last["w"].dtype == jnp.bfloat16
    assert updates["b"].dtype == last["b"].dtype == jnp.float32
    assert {x.dtype for x in jax.tree.leaves(state)} == {np.dtype(np.float32)}
    assert all(np.isfinite(np.float32(x)).all() for x in jax.tree.leaves((last, state)))


def test_a_population_of_thetas_is_a_vmap():
    thetas = [random_theta(seed) for seed in (0, 1)]
    stacked = jax.tree.map(lambda *x: np.stack(x), *thetas)
    params, gradient, given = random_tree(0, 1.0), random_tree(1, 1.0), context(1)

    def updates(theta):
        return update(open_optimizer(theta, INFO), gradient, params, **given._asdict())

    together = jax.jit(jax.vmap(updates))(stacked)
    for i, theta in enumerate(thetas):
        # batched products sum in another order
        jax.tree.map(
            lambda a, b, i=i: np.testing.assert_allclose(a[i], b, atol=1e-5 * STEP),
            together,
            jax.jit(updates)(theta),
        )


def test_chains_hand_the_arguments_on():
    params, gradient, given = random_tree(0, 1.0), random_tree(1, 1.0), context(1)._asdict()
    plain = open_optimizer(THETA, INFO)
    chain = optax.chain(optax.scale(0.5), plain, optax.scale(2.0))
    # an argument of another link of the chain is no error
    got = update(chain, gradient, params, foreign=1.0, **given)
    expected = update(plain, jax.tree.map(lambda g: 0.5 * g, gradient), params, **given)
    jax.tree.map(lambda a, b: np.testing.assert_array_equal(a, 2 * b), got, expected)


def test_the_inner_optimizer_clips_each_network(key):
    optimizer = open_inner_optimizer(theta=THETA, max_grad_norm=0.5)
    jax.tree.map(np.testing.assert_array_equal, optimizer.init(key), THETA)
    params, large, given = random_tree(0, 1.0), random_tree(1, 1.0), context(1)._asdict()
    clipped = {}
    for names in (("a_scalar", "b_conv"), ("c_vector", "d_matrix")):  # networks x and y
        norm = np.sqrt(sum(np.sum(large[name] ** 2) for name in names))
        assert norm > 0.5
        clipped |= {name: large[name] * np.float32(0.5 / norm) for name in names}
    got = update(fixed(optimizer, THETA).transformation((), INFO, 1), large, params, **given)
    plain = open_inner_optimizer(theta=THETA, max_grad_norm=None).transformation(THETA, INFO, 1)
    expected = update(plain, clipped, params, **given)
    unclipped = update(plain, large, params, **given)
    for name in params:
        np.testing.assert_allclose(got[name], expected[name], atol=1e-5 * STEP)
    assert not np.allclose(got["d_matrix"], unclipped["d_matrix"], atol=1e-5 * STEP)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"params": None}, "lacks the arguments params"),
        ({"progress": None}, "lacks the arguments progress"),
        ({"epoch_progress": None, "key": None}, "lacks the arguments epoch_progress, key"),
        ({"activity": None}, "lacks the arguments activity"),
        ({"activity": {"conv": np.ones(4)}}, "activity lacks 'dense'; it has conv"),
        ({"activity": {"conv": np.ones(3), "dense": np.ones(2)}}, "'conv' has shape"),
        ({"params": {"w": np.ones(3)}}, "describes 4 tensors, params has 1"),
    ],
)
def test_missing_arguments_are_named(change, message):
    params = random_tree(0, 1.0)
    info = (*INFO[:3], ParameterInfo("y", 1.0, noisy=True, units="dense"))
    tx = open_optimizer(THETA, info)
    arguments = {"params": params, **context(1)._asdict(), **change}
    with pytest.raises(ConfigError, match=message):
        tx.update(random_tree(1, 1.0), tx.init(params), **arguments)


def test_released_weights_descend_a_quadratic():
    """Not what they were made for, but a step has to go down before noise and decay matter."""
    _, theta = load_open(released("multi"))
    tx = open_optimizer(theta)
    start = {"w": jnp.linspace(-0.3, 0.3, 32).reshape(8, 4), "b": jnp.zeros(4)}

    def step(carry, n):
        params, state = carry
        updates, state = tx.update(params, state, params, progress=n / 200, epoch_progress=0.0)
        return (optax.apply_updates(params, updates), state), None

    (params, _), _ = jax.jit(lambda c: jax.lax.scan(step, c, jnp.arange(200)))(
        (start, tx.init(start))
    )
    before, after = (np.sqrt(sum(np.sum(x**2) for x in p.values())) for p in (start, params))
    assert after < 0.5 * before
