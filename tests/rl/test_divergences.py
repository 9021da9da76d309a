import jax
import numpy as np

from metarl.rl.divergences import categorical_kl_divergence


def test_against_numpy_and_not_symmetric():
    p_logits, q_logits = np.random.default_rng(0).normal(size=(2, 3, 5))
    p, q = (np.exp(x) / np.exp(x).sum(-1, keepdims=True) for x in (p_logits, q_logits))
    got = categorical_kl_divergence(np.float32(p_logits), np.float32(q_logits))
    np.testing.assert_allclose(got, (p * np.log(p / q)).sum(-1), rtol=1e-4, atol=1e-6)
    back = categorical_kl_divergence(np.float32(q_logits), np.float32(p_logits))
    assert np.all(np.abs(got - back) > 1e-3)


def test_zero_at_equality_whatever_the_shift_and_finite_far_away():
    x = np.float32([0.0, 3.0, -2.0])
    np.testing.assert_allclose(categorical_kl_divergence(x, x + 7), 0.0, atol=1e-6)
    far = categorical_kl_divergence(np.float32([0.0, 200.0]), np.float32([200.0, 0.0]))
    np.testing.assert_allclose(far, 200.0, rtol=1e-6)


def test_gradient_is_the_difference_of_probabilities():
    p, q = np.random.default_rng(1).normal(size=(2, 4)).astype(np.float32)
    gradient = jax.grad(lambda q: categorical_kl_divergence(p, q))(q)
    np.testing.assert_allclose(gradient, jax.nn.softmax(q) - jax.nn.softmax(p), atol=1e-6)
