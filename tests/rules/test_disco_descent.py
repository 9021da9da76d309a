import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from metarl.core.errors import ConfigError
from metarl.rules.disco import disco_descent


def test_against_adam_with_clipped_updates():
    rng = np.random.default_rng(0)
    gradients = rng.normal(size=(300, 4)) * np.array([1e-3, 1.0, 30.0, 1.0])
    gradients[-1, 3] = 1e3  # a jump, after which Adam's update exceeds one
    optimizer = disco_descent(0.1, max_update=1.0)
    params = jnp.zeros(4)
    state = optimizer.init(params)
    update = jax.jit(optimizer.update)
    m = v = np.zeros(4)
    clipped = False
    for t, g in enumerate(gradients, start=1):
        updates, state = update(jnp.float32(g), state)
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
        step = m / (1 - 0.9**t) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)
        clipped |= bool(np.any(np.abs(step) > 1.01))
        np.testing.assert_allclose(updates, -0.1 * np.clip(step, -1, 1), rtol=1e-4, atol=1e-7)
    assert clipped


def test_the_denominator_has_no_gradient():
    """The first update is g / |g|: with a constant denominator its derivative is 1 / |g|."""
    optimizer = disco_descent(1.0, max_update=2.0)

    def first(g):
        return optimizer.update(g, optimizer.init(g))[0].sum()

    g = jnp.float32([0.5, -4.0])
    np.testing.assert_allclose(jax.grad(first)(g), -1 / np.abs(g), rtol=1e-5)


def test_it_descends(key):
    optimizer = disco_descent(0.1)
    params = jax.random.normal(key, (3,))
    state = optimizer.init(params)
    for _ in range(60):
        updates, state = optimizer.update(2 * params, state, params)
        params = optax.apply_updates(params, updates)
    assert np.all(np.abs(params) < 0.2)


def test_settings_out_of_range_are_refused():
    with pytest.raises(ConfigError):
        disco_descent(0.0)
    with pytest.raises(ConfigError):
        disco_descent(0.1, max_update=-1.0)
