"""Full ES against closed forms. Every statistical test allows four standard errors, seed fixed."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from metarl.core.contracts import Unroll
from metarl.core.errors import ConfigError
from metarl.core.mesh import Layout, make_mesh, on_mesh
from metarl.estimators.full_es import FullES, FullESConfig, noise_of, weighted_noise

from .standard_errors import assert_mean, assert_variance
from .toys import GradientDescent, OneStep, Tasks, one_step

CURVATURE = jnp.array([[2.0, 0.5, 0.0], [0.5, 1.0, -0.3], [0.0, -0.3, 1.5]])
OPTIMUM = jnp.array([0.3, -0.2, 0.5])
THETA = jnp.array([1.0, 0.4, -0.7])
GRADIENT = np.asarray(CURVATURE, np.float64) @ np.asarray(THETA - OPTIMUM, np.float64)
UNSHAPED = FullESConfig(population=8, sigma=0.1, shaping="none")


def quadratic(theta, task, key):
    gap = theta - OPTIMUM
    return 0.5 * gap @ CURVATURE @ gap


def noisy(std):
    return lambda theta, task, key: quadratic(theta, task, key) + std * jax.random.normal(key)


def estimates(estimator, theta, count, seed=0):
    """Independent estimates of the gradient, `[count, ...]`, float64."""
    keys = jax.random.split(jax.random.key(seed), count)
    gradients = jax.jit(jax.vmap(lambda key: estimator.estimate(key, theta, ())[0].gradient))(keys)
    return np.asarray(gradients, np.float64)


def estimate_once(estimator, key, theta=THETA):
    return jax.jit(lambda key: estimator.estimate(key, theta, ())[0])(key)


FIRST = one_step(lambda theta, task, key: theta[0])
"""Shows the first parameter of every member, and by it the noise of every pair."""


def first_gradient(estimate, row, weights, config):
    """The estimate's first coordinate in float64, from weights `[P]` and the row of `FIRST`."""
    moved = np.asarray(estimate.unroll_losses[row], np.float64) - float(THETA[0])
    return weights @ moved / (config.population * config.sigma**2)


def test_unbiased_on_a_quadratic_without_pairs():
    config = dataclasses.replace(
        UNSHAPED, antithetic=False, common_random_numbers="population", sigma=0.5
    )
    samples = estimates(FullES(config, (one_step(quadratic),)), THETA, 4000)
    assert_mean(samples, GRADIENT)


def test_variance_without_common_random_numbers_is_as_predicted():
    std, config = 0.2, dataclasses.replace(UNSHAPED, common_random_numbers="none")
    samples = estimates(FullES(config, (one_step(noisy(std)),)), THETA, 4000)
    # A pair gives eps (eps . g), of variance |g|^2 + g_i^2; two independent noises of the losses
    # add eps_i (n_1 - n_2) / (2 sigma), of variance std^2 / (2 sigma^2).
    pair = np.sum(GRADIENT**2) + GRADIENT**2 + std**2 / (2 * config.sigma**2)
    assert_mean(samples, GRADIENT)
    assert_variance(samples, pair / (config.population / 2))


def test_several_inner_steps_against_quadrature():
    steps, theta, sigma = 3, 0.4, 0.2
    unroll = Unroll(Tasks(lambda key: jnp.float32(-0.5)), GradientDescent(), steps, jnp.sum)
    # Gauss-Hermite quadrature is exact: the meta-loss is a polynomial of degree 2 * steps.
    nodes, weights = np.polynomial.hermite_e.hermegauss(2 * steps + 1)
    points = theta + sigma * nodes
    loss = sum(0.5 * (1.5 * (1 - points) ** k) ** 2 for k in range(1, steps + 1))
    expected = weights @ (nodes * loss) / sigma / np.sqrt(2 * np.pi)
    config = dataclasses.replace(UNSHAPED, sigma=sigma)
    assert_mean(estimates(FullES(config, (unroll,)), jnp.float32(theta), 4000), expected)


def test_tasks_and_seeds_average_out_their_noise():
    # Losses theta * (task + noise): shared in a pair, so a pair gives eps^2 (task + noise).
    unroll = one_step(
        lambda theta, task, key: theta * (task + jax.random.normal(key)), jax.random.normal
    )
    config = dataclasses.replace(UNSHAPED, population=2, tasks=3, seeds=4)
    samples = estimates(FullES(config, (unroll,)), jnp.float32(1), 4000)
    # E eps^4 = 3, and seeds share their task: tasks average over 3, noises over 12.
    assert_variance(samples, 3 * (1 / 3 + 1 / 12))


def test_a_tree_of_parameters_keeps_its_structure(key):
    theta = {"a": jnp.ones((2, 3)), "b": (jnp.float32(1), jnp.zeros(2))}
    unroll = one_step(lambda theta, task, key: sum(map(jnp.sum, jax.tree.leaves(theta))))
    estimator = FullES(dataclasses.replace(UNSHAPED, sigma=0.3), (unroll,))
    assert estimator.init(key, theta) == ()
    estimate, _ = jax.eval_shape(lambda key: estimator.estimate(key, theta, ()), key)
    assert jax.tree.map(jnp.shape, estimate.gradient) == jax.tree.map(jnp.shape, theta)


@pytest.mark.slow
def test_wins_in_pairs_give_the_direction_of_the_gradient_whatever_its_size():
    """A pair on a linear loss gives `eps sign(eps . g) / (2 sigma)`, of mean `sqrt(2/pi) g / |g|`
    over `2 sigma`: what the task adds, which the pair shares, and how steep it is do not matter.
    """
    slope = np.array([0.6, 0.0, -0.8])
    unroll = one_step(
        lambda theta, task, key: jnp.exp(task) * (theta @ jnp.float32(slope)) + 10 * task,
        jax.random.normal,
    )
    config = dataclasses.replace(UNSHAPED, shaping="win_loss")
    samples = estimates(FullES(config, (unroll,)), THETA, 4000)
    assert_mean(samples, np.sqrt(2 / np.pi) * slope / (2 * config.sigma))


def test_differences_are_cut_within_pairs(key):
    """Each pair gives `clip(L_plus - L_minus) eps / (2 sigma)`; rows are cut before their mean."""
    config = dataclasses.replace(UNSHAPED, clip=0.3)
    steep = one_step(lambda theta, task, key: 3 * quadratic(theta, task, key))
    found = estimate_once(FullES(config, (one_step(quadratic), steep, FIRST)), key)
    assert found.losses.shape == (8,)
    losses = np.asarray(found.unroll_losses, np.float64)
    differences = losses[:, 0::2] - losses[:, 1::2]
    cut = np.clip(differences, -config.clip, config.clip)
    assert 0 < np.sum(cut != differences) < cut.size
    weights = np.stack([cut.mean(axis=0), -cut.mean(axis=0)], axis=1).ravel() / 2
    # Losses and noise are recovered from differences of float32 numbers of size one to ten.
    expected = first_gradient(found, 2, weights, config)
    np.testing.assert_allclose(found.gradient[0], expected, atol=1e-4)


def test_diverged_members_count_and_get_the_worst_finite_loss(key):
    """Environments count alike whatever their scale; one where all diverge silences no other."""

    def diverging(limit, scale):
        def loss(theta, task, key):
            return jnp.where(theta[0] > limit, jnp.nan, scale * quadratic(theta, task, key))

        return one_step(loss)

    config = FullESConfig(population=16, sigma=0.1)
    unrolls = (one_step(quadratic), diverging(1.0, 2.0**20), diverging(-100.0, 1.0), FIRST)
    found = estimate_once(FullES(config, unrolls), key)
    clean, some, none, first = np.asarray(found.unroll_losses, np.float64)
    gone = first > 1.0
    assert 0 < gone.sum() < 16
    assert found.diverged == 16
    np.testing.assert_array_equal(some, 2.0**20 * np.where(gone, clean[~gone].max(), clean))
    np.testing.assert_array_equal(none, 0)
    # Means of four numbers, of which one is large.
    np.testing.assert_allclose(found.losses, found.unroll_losses.mean(axis=0), rtol=1e-6)
    ranks = [(stats.rankdata(row) - 1) / 15 - 0.5 for row in (clean, some, none, first)]
    # Noise is recovered from numbers of size one, beside which it is a tenth.
    expected = first_gradient(found, 3, np.mean(ranks, axis=0), config)
    np.testing.assert_allclose(found.gradient[0], expected, rtol=1e-5)


def test_layout_changes_no_random_number_and_results_only_by_rounding(key):
    config = FullESConfig(population=14, tasks=2, seeds=3, shaping="none")

    def observe(theta, task, key):
        """The loss, and what was drawn: of theta, of the task, of the lifetime."""
        drawn = {"theta": theta[0], "task": task, "lifetime": jax.random.uniform(key)}
        return {"loss": theta[1] ** 2 + task + drawn["lifetime"], **drawn}

    unroll = Unroll(Tasks(jax.random.normal), OneStep(observe), 1, lambda logs: logs["loss"][0])

    def run(layout):
        estimator = FullES(config, (unroll,), layout, lambda logs: jax.tree.map(jnp.sum, logs))
        program = on_mesh(
            lambda key: estimator.estimate(key, THETA, ())[0], make_mesh(layout.devices)
        )
        return jax.device_get(program(key))

    # Two do not divide the seven pairs.
    reference, result = run(Layout()), run(Layout(2, chunk=2))
    # Means over six lifetimes and sums over 14 members, in another order.
    eps = np.finfo(np.float32).eps
    for name, values in reference.summary.items():
        assert len(np.unique(values)) >= 7, name
        np.testing.assert_allclose(result.summary[name], values, rtol=0, atol=8 * eps)
    slack = 14 * eps * np.abs(reference.losses).max() * 3 / config.sigma
    np.testing.assert_allclose(result.gradient, reference.gradient, rtol=0, atol=slack)


def test_the_noise_sum_is_that_of_the_members(key):
    estimator = FullES(FullESConfig(population=10, sigma=0.5), (one_step(quadratic),))
    weights, chunks = jnp.arange(5.0), (2, 99)

    @jax.jit
    def run(key):
        members = jax.vmap(lambda i: estimator.member_theta(key, THETA, i))(jnp.arange(10))
        noise = jax.vmap(lambda i: noise_of(key, THETA, i))(jnp.arange(5))
        return members, noise, [weighted_noise(key, THETA, weights, chunk) for chunk in chunks]

    members, noise, totals = jax.tree.map(lambda x: np.asarray(x, np.float64), run(key))
    # A product and a sum of numbers of size one, rounded together or apart.
    theta = np.asarray(THETA, np.float64)
    np.testing.assert_allclose(members[0::2], theta + 0.5 * noise, rtol=0, atol=1e-6)
    np.testing.assert_allclose(members[1::2], theta - 0.5 * noise, rtol=0, atol=1e-6)
    for total in totals:
        expected = np.arange(5) @ noise
        np.testing.assert_allclose(total, expected, atol=20 * np.finfo(np.float32).eps)


@pytest.mark.slow
def test_memory_does_not_hold_the_noise_of_the_population(key):
    theta = jnp.zeros(50_000)
    estimator = FullES(
        FullESConfig(population=256), (one_step(lambda t, task, k: t @ t),), Layout(chunk=4)
    )
    program = jax.jit(lambda key: estimator.estimate(key, theta, ())[0].gradient)
    used = program.lower(key).compile().memory_analysis().temp_size_in_bytes
    # The whole population's thetas would be 256 times theta; a chunk of 4 needs a few times 4.
    assert used < 64 * theta.nbytes


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"population": 7}, "7 is odd"),
        ({"sigma": 0.0}, "sigma must be positive"),
        ({"tasks": 0}, "tasks must be positive"),
        ({"seeds": 0}, "seeds must be positive"),
        ({"shaping": "zscore"}, "mean 'z_score'"),
        ({"common_random_numbers": "pairs"}, "mean 'pair'"),
        ({"clip": 0.0, "shaping": "none"}, "clip must be positive"),
        ({"clip": 0.5}, "shaping='none'"),
        ({"antithetic": False}, "needs antithetic=True"),
        (
            {"shaping": "win_loss", "antithetic": False, "common_random_numbers": "population"},
            "shaping='win_loss' compares within pairs",
        ),
    ],
)
def test_bad_settings_are_refused(change, message):
    with pytest.raises(ConfigError, match=message):
        dataclasses.replace(FullESConfig(), **change)


def test_no_lifetimes_are_refused():
    with pytest.raises(ConfigError, match="unrolls is empty"):
        FullES(FullESConfig(), ())
