"""Full ES against closed forms. Every statistical test allows four standard errors, seed fixed."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from metarl.core.contracts import Unroll
from metarl.core.errors import ConfigError
from metarl.core.mesh import Layout, make_mesh, on_mesh
from metarl.estimators.full_es import FullES, FullESConfig, noise_of, weighted_noise

from .standard_errors import assert_mean, assert_variance
from .toys import GradientDescent, Tasks, one_step

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


@pytest.mark.parametrize("antithetic", [True, False])
def test_unbiased_on_a_quadratic(antithetic):
    sharing = "pair" if antithetic else "population"
    config = dataclasses.replace(
        UNSHAPED, antithetic=antithetic, common_random_numbers=sharing, sigma=0.5
    )
    samples = estimates(FullES(config, (one_step(quadratic),)), THETA, 4000)
    assert_mean(samples, GRADIENT)


@pytest.mark.parametrize("sharing", ["pair", "population", "none"])
@pytest.mark.sampled(2)
def test_variance_is_as_predicted_and_common_random_numbers_reduce_it(sharing):
    std, config = 0.2, dataclasses.replace(UNSHAPED, common_random_numbers=sharing)
    samples = estimates(FullES(config, (one_step(noisy(std)),)), THETA, 4000)
    # A pair gives eps (eps . g), of variance |g|^2 + g_i^2; two independent noises of the losses
    # add eps_i (n_1 - n_2) / (2 sigma), of variance std^2 / (2 sigma^2). Shared ones cancel.
    pair = np.sum(GRADIENT**2) + GRADIENT**2
    if sharing == "none":
        pair = pair + std**2 / (2 * config.sigma**2)
    assert_mean(samples, GRADIENT)
    assert_variance(samples, pair / (config.population / 2))


def test_bias_of_a_quartic_grows_with_sigma_squared():
    start, sigmas = 0.5, np.array([0.5, 0.7, 1.0, 1.4])
    unroll = one_step(lambda theta, task, key: jnp.sum(theta**4))
    biases, errors = [], []
    for sigma in sigmas:
        config = FullESConfig(population=256, sigma=float(sigma), shaping="none")
        samples = estimates(FullES(config, (unroll,)), jnp.array([start]), 1500)
        # E (theta + sigma eps)^4 has gradient 4 theta^3 + 12 sigma^2 theta.
        assert_mean(samples, 4 * start**3 + 12 * sigma**2 * start)
        biases.append(samples.mean() - 4 * start**3)
        errors.append(samples.std() / np.sqrt(len(samples)) / biases[-1])
    x = np.log(sigmas) - np.mean(np.log(sigmas))
    slope = x @ np.log(biases) / (x @ x)
    slope_error = np.sqrt(np.sum((x * errors) ** 2)) / (x @ x)
    assert slope_error < 0.05
    assert abs(slope - 2) < 4 * slope_error


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
    estimate = estimate_once(estimator, key, theta)
    assert jax.tree.map(jnp.shape, estimate.gradient) == jax.tree.map(jnp.shape, theta)


def test_environments_count_alike_whatever_their_scale(key):
    small = one_step(lambda theta, task, key: theta[0])
    large = one_step(lambda theta, task, key: 1e6 * theta[1])
    for shaping in ("centered_rank", "z_score"):
        config = FullESConfig(population=64, shaping=shaping)
        both = estimate_once(FullES(config, (small, large)), key)
        rescaled = FullES(config, (small, one_step(lambda t, task, key: t[1])))
        # Rounding of sums over 64 members of numbers of size at most one over sigma.
        slack = 64 * np.finfo(np.float32).eps / config.sigma
        expected = estimate_once(rescaled, key).gradient
        # z-scores of 1e6 theta differ in rounding only.
        np.testing.assert_allclose(both.gradient, expected, atol=slack, rtol=1e-4)
        assert both.unroll_losses.shape == (2, 64)
        # A mean of two numbers.
        np.testing.assert_allclose(both.losses, both.unroll_losses.mean(axis=0), rtol=1e-6)


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
    unrolls = (one_step(quadratic), steep)
    found = estimate_once(FullES(config, unrolls), key)
    eps = estimate_once(FullES(config, (one_step(lambda t, task, k: t[0]),)), key).losses
    assert eps.shape == (8,)
    losses = np.asarray(found.unroll_losses, np.float64)
    differences = losses[:, 0::2] - losses[:, 1::2]
    cut = np.clip(differences, -config.clip, config.clip)
    assert 0 < np.sum(cut != differences) < cut.size
    noise = (np.asarray(eps, np.float64)[0::2] - float(THETA[0])) / config.sigma
    expected = cut.mean(axis=0) @ noise / (config.population * config.sigma)
    # Losses and noise are recovered from differences of float32 numbers of size one to ten.
    np.testing.assert_allclose(found.gradient[0], expected, atol=1e-4)


def diverging(limit):
    """Is not finite where the first parameter is above a limit."""
    return one_step(
        lambda theta, task, key: jnp.where(theta[0] > limit, jnp.nan, quadratic(theta, task, key))
    )


@pytest.mark.parametrize("shaping", ["centered_rank", "z_score", "none"])
@pytest.mark.sampled(1)
def test_diverged_members_count_and_get_the_worst_finite_loss(key, shaping):
    config = FullESConfig(population=16, sigma=0.1, shaping=shaping)
    estimate = estimate_once(FullES(config, (diverging(1.0),)), key)
    clean = estimate_once(FullES(config, (one_step(quadratic),)), key)
    estimator = FullES(config, (one_step(lambda t, task, key: t[0]),))
    gone = np.asarray(estimate_once(estimator, key).losses) > 1.0
    assert 0 < gone.sum() < 16
    assert estimate.diverged == gone.sum()
    np.testing.assert_array_equal(estimate.losses[~gone], clean.losses[~gone])
    assert np.all(estimate.losses[gone] == np.max(clean.losses[~gone]))
    assert np.all(np.isfinite(estimate.gradient))


@pytest.mark.parametrize("shaping", ["centered_rank", "z_score", "none"])
@pytest.mark.sampled(1)
def test_nothing_moves_when_every_member_diverged(key, shaping):
    config = FullESConfig(population=8, shaping=shaping)
    estimate = estimate_once(FullES(config, (diverging(-100.0),)), key)
    assert estimate.diverged == 8
    np.testing.assert_array_equal(estimate.gradient, np.zeros(3))


def test_an_environment_where_all_diverge_does_not_silence_the_other(key):
    config = FullESConfig(population=8)
    both = estimate_once(FullES(config, (diverging(-100.0), one_step(quadratic))), key)
    alone = estimate_once(FullES(config, (one_step(quadratic),)), key)
    assert both.diverged == 8
    assert np.all(np.isfinite(both.losses))
    assert np.linalg.norm(alone.gradient) > 0
    # The same sum over the population, of halves: some ten roundings.
    np.testing.assert_allclose(both.gradient, alone.gradient / 2, rtol=1e-5)


LAYOUTS = [Layout(), Layout(chunk=1), Layout(chunk=5), Layout(devices=2), Layout(2, chunk=3)]


@pytest.mark.parametrize("layout", LAYOUTS[1:], ids=str)
@pytest.mark.sampled(1)
def test_layout_changes_no_random_number_and_results_only_by_rounding(layout, key):
    config = FullESConfig(population=14, tasks=2, seeds=3, shaping="none")
    # Losses that show what was drawn: of theta, of the task, of the lifetime.
    shown = [
        one_step(lambda theta, task, key: theta[0], jax.random.normal),
        one_step(lambda theta, task, key: task, jax.random.normal),
        one_step(lambda theta, task, key: jax.random.uniform(key)),
    ]
    unrolls = (*shown, one_step(noisy(0.1)))

    def run(layout):
        estimator = FullES(config, unrolls, layout)
        program = on_mesh(
            lambda key: estimator.estimate(key, THETA, ())[0], make_mesh(layout.devices)
        )
        return jax.device_get(program(key))

    reference, result = run(Layout()), run(layout)
    # Means over six lifetimes and sums over 14 members, in another order.
    eps = np.finfo(np.float32).eps
    np.testing.assert_allclose(result.unroll_losses, reference.unroll_losses, rtol=0, atol=8 * eps)
    slack = 14 * eps * np.abs(reference.losses).max() * 3 / config.sigma
    np.testing.assert_allclose(result.gradient, reference.gradient, rtol=0, atol=slack)


def test_the_noise_sum_is_that_of_the_members(key):
    estimator = FullES(FullESConfig(population=10, sigma=0.5), (one_step(quadratic),))
    members = jax.jit(jax.vmap(lambda i: estimator.member_theta(key, THETA, i)))(jnp.arange(10))
    noise = jax.jit(jax.vmap(lambda i: noise_of(key, THETA, i)))(jnp.arange(5))
    # Two programs may round a product and a sum together or apart.
    np.testing.assert_allclose(members[0::2], THETA[None] + 0.5 * noise, rtol=1e-6)
    np.testing.assert_allclose(members[1::2], THETA[None] - 0.5 * noise, rtol=1e-6)
    weights = jnp.arange(5.0)
    expected = np.asarray(weights, np.float64) @ np.asarray(noise, np.float64)
    for chunk in (1, 2, 5, 99):
        total = jax.jit(weighted_noise, static_argnums=3)(key, THETA, weights, chunk)
        np.testing.assert_allclose(total, expected, atol=20 * np.finfo(np.float32).eps)


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
    ("change", "said"),
    [
        ({"population": 7}, "7 is odd"),
        ({"population": -2}, "population must be positive"),
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
def test_bad_settings_are_refused(change, said):
    with pytest.raises(ConfigError, match=said):
        dataclasses.replace(FullESConfig(), **change)


def test_no_lifetimes_are_refused():
    with pytest.raises(ConfigError, match="unrolls is empty"):
        FullES(FullESConfig(), ())
