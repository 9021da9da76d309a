import jax
import jax.numpy as jnp
import numpy as np
import pytest

from metarl.core.contracts import Evaluation
from metarl.core.errors import ConfigError
from metarl.core.mesh import Layout, make_mesh, on_mesh
from metarl.outer.evosax import EvosaxMetaOptimizer
from metarl.outer.strategies import strategies

MINIMUM = {"a": jnp.array([1.0, -2.0, 0.5]), "b": jnp.array([[0.3, -0.7]])}
START = {"a": jnp.zeros(3), "b": jnp.zeros((1, 2))}


def loss_of(theta):
    """A quadratic of five dimensions whose axes differ, minimum 0."""
    gaps = jax.tree.map(lambda x, y: jnp.sum((x - y) ** 2), theta, MINIMUM)
    return gaps["a"] + 3 * gaps["b"]


def evaluate(key, thetas):
    return jax.vmap(loss_of)(thetas)


def run(optimizer, steps, start=START, devices=1):
    def program(key):
        state = optimizer.init(key, start)
        keys = jax.random.split(key, steps)
        return jax.lax.scan(lambda s, k: optimizer.step(k, s), state, keys)

    state, log = on_mesh(program, make_mesh(devices))(jax.random.key(0))
    return optimizer.theta(state), log


# Settings with which each one is known to be good on a smooth bowl; the rest are its defaults.
SETTINGS = {
    "Open_ES": {"std": 0.1, "learning_rate": 0.05},
    "SNES": {"std": 0.5},
    "xNES": {"std": 0.5},
    "CMA_ES": {"std": 0.5},
    "Sep_CMA_ES": {"std": 0.5},
    "MA_ES": {"std": 0.5},
    "CR_FM_NES": {"std": 0.5},
    "SimpleES": {"std": 0.5},
    "PGPE": {"std": 0.1, "learning_rate": 0.05},
    "ARS": {"std": 0.1, "learning_rate": 0.05},
    "SimpleGA": {"std": 0.1},
    "DifferentialEvolution": {"std": 1.0},
    "PSO": {},
    "MR15_GA": {"std": 0.3},
    "SAMR_GA": {"std": 0.3},
}


@pytest.mark.parametrize("name", SETTINGS)
@pytest.mark.sampled(2)
def test_reaches_the_minimum(name):
    optimizer = EvosaxMetaOptimizer(name, 32, evaluate, **SETTINGS[name])
    theta, log = run(optimizer, 250)
    assert jax.tree.structure(theta) == jax.tree.structure(START)
    # From 11 at the start; SimpleGA never narrows its mutations of 0.1, the others get to zero.
    assert loss_of(theta) < 0.05
    assert log.losses.shape == (250, 32)
    assert np.all(log.gradient_norm == 0)
    assert np.all(np.isfinite(log.update_norm))


@pytest.mark.parametrize("name", ["Open_ES", "CMA_ES", "PGPE", "SNES"])
@pytest.mark.sampled(2)
def test_the_search_starts_at_theta_with_the_given_spread(name):
    start = jax.tree.map(lambda x: x + 5.0, START)
    evaluated = []

    def spy(key, thetas):
        evaluated.append(jax.tree.map(np.asarray, thetas))
        return evaluate(key, thetas)

    optimizer = EvosaxMetaOptimizer(name, 400, spy, std=0.01)
    state = optimizer.init(jax.random.key(0), start)
    jax.tree.map(np.testing.assert_array_equal, optimizer.theta(state), start)
    optimizer.step(jax.random.key(1), state)
    drawn = np.concatenate([evaluated[0]["a"], evaluated[0]["b"][:, 0]], axis=1) - 5.0
    # Standard errors of a mean and of a standard deviation from 400 normal numbers; four of them.
    assert np.all(np.abs(drawn.mean(axis=0)) < 4 * 0.01 / np.sqrt(400))
    assert np.all(np.abs(drawn.std(axis=0) - 0.01) < 4 * 0.01 / np.sqrt(800))


def test_a_population_starts_with_theta_itself_and_keeps_its_best():
    optimizer = EvosaxMetaOptimizer("SimpleGA", 8, evaluate, std=1e-3)
    best = optimizer.theta(optimizer.init(jax.random.key(0), MINIMUM))
    jax.tree.map(np.testing.assert_array_equal, best, MINIMUM)


@pytest.mark.parametrize("name", ["CMA_ES", "SNES", "Open_ES", "DifferentialEvolution"])
@pytest.mark.sampled(1)
def test_members_that_diverge_do_no_harm(name):
    def broken(key, thetas):
        losses = evaluate(key, thetas)
        return jnp.where(thetas["a"][:, 0] > 1.1, jnp.nan, losses)

    optimizer = EvosaxMetaOptimizer(name, 32, broken, **SETTINGS[name])
    theta, log = run(optimizer, 250)
    assert loss_of(theta) < 0.05
    assert np.all(np.isfinite(log.losses))
    assert int(log.diverged.max()) > 0


@pytest.mark.parametrize("name", ["CMA_ES", "Open_ES", "SimpleGA", "LM_MA_ES"])
@pytest.mark.sampled(1)
def test_theta_stays_finite_when_everything_diverges(name):
    optimizer = EvosaxMetaOptimizer(name, 8, lambda key, thetas: jnp.full(8, jnp.nan))
    theta, log = run(optimizer, 20)
    assert all(np.all(np.isfinite(x)) for x in jax.tree.leaves(theta))
    assert np.all(log.diverged == 8)


def test_a_strategy_that_breaks_down_keeps_its_last_theta():
    # evosax's LM_MA_ES takes roots of negative numbers where the population is large for its
    # dimensions; what would be NaN from the second generation on is the theta of the first.
    theta, log = run(EvosaxMetaOptimizer("LM_MA_ES", 32, evaluate), 20)
    assert all(np.all(np.isfinite(x)) for x in jax.tree.leaves(theta))
    assert log.update_norm[0] > 0
    assert np.all(log.update_norm[1:] == 0)


def test_several_unrolls_count_alike_and_are_reported():
    def two(key, thetas):
        first = jnp.sum((thetas["a"] - MINIMUM["a"][None]) ** 2, axis=-1)
        second = 1e6 * jnp.sum((thetas["b"] - MINIMUM["b"][None]) ** 2, axis=(-1, -2))
        return Evaluation(jnp.stack([first, second]), {"steps": jnp.ones((2, 32))})

    theta, log = run(EvosaxMetaOptimizer("CMA_ES", 32, two, std=0.5), 250)
    # From 2 away at the start; ranks lose their meaning where losses differ by rounding only.
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, atol=1e-2), theta, MINIMUM)
    assert log.unroll_losses.shape == (250, 2, 32)
    assert log.summary["steps"].shape == (250, 2, 32)


@pytest.mark.parametrize("shaping", ["none", "z_score"])
def test_losses_of_several_unrolls_are_shaped(shaping):
    losses = jnp.array([[1.0, 5.0, 2.0, 2.0], [300.0, 100.0, 500.0, 100.0]])
    optimizer = EvosaxMetaOptimizer("SNES", 4, lambda *_: Evaluation(losses), shaping=shaping)
    fitness, _, _ = optimizer._score(jax.random.key(0), START)
    rows = np.asarray(losses, np.float64)
    if shaping == "z_score":
        rows = (rows - rows.mean(axis=1, keepdims=True)) / rows.std(axis=1, keepdims=True)
    # A dozen float32 operations on numbers that are relatively far apart.
    eps = 12 * np.finfo(np.float32).eps
    np.testing.assert_allclose(fitness, rows.mean(axis=0), rtol=eps, atol=eps)


@pytest.mark.parametrize("decay", [1.0, 0.01])
def test_the_learning_rate_decays_every_generation(decay):
    optimizer = EvosaxMetaOptimizer("Open_ES", 8, evaluate, std=0.1, learning_rate=0.1, decay=decay)
    _, log = run(optimizer, 2)
    # Adam's first step is the rate in each of the five dimensions, less its epsilon of 1e-8 beside
    # gradients of about 1; the second at most the rate of then.
    np.testing.assert_allclose(log.update_norm[0], 0.1 * np.sqrt(5), rtol=1e-5)
    assert 0 < log.update_norm[1] < 0.1 * decay * np.sqrt(5) * 1.001
    # Without decay it is of the first one's size, so the bound above distinguishes the two.
    assert decay < 1 or log.update_norm[1] > 0.02


@pytest.mark.parametrize("name", ["SNES", "SimpleGA"])
@pytest.mark.sampled(1)
def test_the_same_on_one_and_two_devices(name):
    def program(devices):
        layout = Layout(devices=devices, chunk=3)
        sharded = lambda key, thetas: layout.sharded_vmap(loss_of)(thetas)  # noqa: E731
        return run(EvosaxMetaOptimizer(name, 16, sharded, std=0.3), 5, devices=devices)

    (one, log_one), (two, log_two) = program(1), program(2)
    # Five generations, in which only the order of sums of a few terms may differ.
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-6), one, two)
    np.testing.assert_allclose(log_one.losses, log_two.losses, rtol=1e-5)


def test_options_reach_the_constructor_and_the_parameters():
    plain = EvosaxMetaOptimizer(
        "Open_ES", 8, evaluate, std=0.1, options={"use_antithetic_sampling": False}
    )
    frozen = EvosaxMetaOptimizer("SimpleGA", 8, evaluate, std=0.1, options={"crossover_rate": 1.0})
    guided = EvosaxMetaOptimizer("GuidedES", 8, evaluate, options={"subspace_dims": 5})
    assert guided._make(START)[0].subspace_dims == 5
    assert not plain._make(START)[0].use_antithetic_sampling
    assert frozen._make(START)[1].crossover_rate == 1.0


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"strategy": "CMAES"}, "mean 'CMA_ES'"),
        ({"strategy": "SNES", "options": {"lr_std": 1.0}}, "mean 'lr_std_init'"),
        ({"strategy": "CMA_ES", "learning_rate": 0.1}, "CMA_ES takes no learning_rate"),
        ({"strategy": "GradientlessDescent", "std": 0.1}, "takes no std"),
        ({"strategy": "Open_ES", "population": 7}, "population=7"),
        ({"strategy": "Open_ES", "population": -8}, "population must be positive"),
        ({"strategy": "Open_ES", "std": 0.0}, "std must be positive"),
        ({"strategy": "SNES", "shaping": "win_loss"}, "Unknown shaping 'win_loss'"),
        ({"strategy": "SNES", "decay": 1.5}, "decay must lie in"),
        ({"strategy": "RandomSearch"}, "sampling_fn"),
        ({"strategy": "LES"}, "pickle"),
        ({"strategy": "SV_CMA_ES"}, "no one theta"),
    ],
)
def test_bad_settings_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        EvosaxMetaOptimizer(**{"population": 8, "evaluate": evaluate, **settings})


def test_no_strategy_reads_a_pickle():
    import pickle
    from unittest import mock

    refuse = mock.Mock(side_effect=AssertionError("a pickle was read"))
    with mock.patch.object(pickle, "load", refuse), mock.patch.object(pickle, "loads", refuse):
        for name in strategies():
            options = {"sampling_fn": lambda key: START} if name == "RandomSearch" else {}
            EvosaxMetaOptimizer(name, 10, evaluate, options=options)
