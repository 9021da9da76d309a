"""Adam on one vector is Adam, and clipping is clipping."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from metarl.optimizers.vector_adam import vector_adam


def adam_in_float64(gradients, rate, betas, epsilon, most):
    """Kingma and Ba 2015, algorithm 1, on one vector, each gradient clipped to a norm."""
    first = second = total = np.zeros(gradients.shape[1])
    for t, gradient in enumerate(gradients, 1):
        norm = np.sqrt(np.sum(gradient**2))
        gradient = gradient * min(1.0, most / norm) if most else gradient
        first = betas[0] * first + (1 - betas[0]) * gradient
        second = betas[1] * second + (1 - betas[1]) * gradient**2
        corrected = np.sqrt(second / (1 - betas[1] ** t)) + epsilon
        total = total - rate(t) * first / (1 - betas[0] ** t) / corrected
    return total


@pytest.mark.parametrize("most", [None, 0.5, 1e4])
@pytest.mark.parametrize("rate", [0.1, lambda count: 0.1 / (1 + count)])
def test_against_the_formula(most, rate):
    """Over five steps on three tensors, of gradients both above and below the norm."""
    rng = np.random.default_rng(0)
    gradients = rng.normal(size=(5, 11)) * np.array([0.01, 1.0, 3.0, 0.05, 0.5])[:, None]

    def tree(vector):
        a, b, c = np.split(np.float32(vector), [6, 7])
        return {"a": jnp.asarray(a.reshape(2, 3)), "b": jnp.asarray(b[0]), "c": jnp.asarray(c)}

    params = tree(np.zeros(11))
    tx = vector_adam(rate, (0.9, 0.99), 1e-5, most)
    state = tx.init(params)
    for gradient in gradients:
        updates, state = tx.update(tree(gradient), state, params)
        params = jax.tree.map(jnp.add, params, updates)
    by_step = rate if callable(rate) else lambda count: rate
    expected = tree(adam_in_float64(gradients, lambda t: by_step(t - 1), (0.9, 0.99), 1e-5, most))
    # Five steps of about 0.1, each with a few float32 roundings; 1 - 0.99^t loses two digits.
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, atol=2e-6), params, expected)
