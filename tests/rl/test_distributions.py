"""Action distributions against SciPy, and samples against their distribution."""

import jax
import jax.numpy as jnp
import numpy as np
from scipy import special, stats

from metarl.rl.distributions import Categorical, DiagonalGaussian, action_noise


def test_categorical_log_prob_and_entropy(key):
    logits = np.asarray(jax.random.normal(key, (5, 4))) * 3
    probabilities = special.softmax(logits.astype(np.float64), axis=-1)
    policy = Categorical(jnp.asarray(logits))
    actions = jnp.array([0, 1, 2, 3, 0])
    # Differences of logits up to 10 in float32, some of them above -0.1: 10 * 6e-8 / 0.03.
    np.testing.assert_allclose(
        policy.log_prob(actions), np.log(probabilities[np.arange(5), actions]), rtol=2e-5
    )
    np.testing.assert_allclose(policy.entropy(), stats.entropy(probabilities, axis=-1), rtol=2e-5)
    np.testing.assert_array_equal(policy.mode(), logits.argmax(-1))


def test_categorical_samples_follow_the_distribution(key):
    logits = jnp.array([0.0, 1.0, -1.0])
    n = 30_000
    noise = action_noise(key, (n, 3), discrete=True)
    counts = np.bincount(Categorical(logits[None]).sample(noise), minlength=3)
    expected = special.softmax(np.asarray(logits, np.float64)) * n
    assert stats.chisquare(counts, expected).pvalue > 1e-4


def test_gaussian_against_scipy(key):
    mean = jnp.array([0.5, -1.0, 2.0])
    log_std = jnp.array([-0.5, 0.0, 0.7])
    policy = DiagonalGaussian(mean, log_std)
    noise = action_noise(key, (3,), discrete=False)
    action = policy.sample(noise)
    scale = np.exp(np.asarray(log_std, np.float64))
    frozen = stats.norm(np.asarray(mean, np.float64), scale)
    # Float32 sums of three terms of size one, of which some cancel.
    np.testing.assert_allclose(policy.log_prob(action), frozen.logpdf(action).sum(), rtol=1e-5)
    np.testing.assert_allclose(policy.entropy(), frozen.entropy().sum(), rtol=1e-5)
    np.testing.assert_allclose(action, mean + scale * noise, rtol=1e-5)
    np.testing.assert_array_equal(policy.mode(), mean)


def test_entropy_of_a_broadcast_standard_deviation():
    policy = DiagonalGaussian(jnp.zeros((4, 2)), jnp.zeros((4, 2)))
    # A few roundings.
    np.testing.assert_allclose(policy.entropy(), np.full(4, 2 * stats.norm().entropy()), rtol=1e-6)
