"""The two conditions that every drift must meet, as a checker that tests itself use and test."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

RATIOS = np.concatenate([np.geomspace(1e-6, 1e6, 49), 1.0 + np.linspace(-0.4, 0.4, 17)])
ADVANTAGES = np.array([-30.0, -1.0, -0.01, 0.0, 0.01, 1.0, 30.0])


def grid(dtype=np.float32):
    """Every ratio with every advantage, `[N]` each."""
    ratio, advantage = np.meshgrid(RATIOS, ADVANTAGES)
    return jnp.asarray(ratio.ravel(), dtype), jnp.asarray(advantage.ravel(), dtype)


@functools.partial(jax.jit, static_argnums=0)
def values_and_slopes(drift, parameters, ratio, advantage):
    """The drift, and its derivative with respect to the ratio."""
    slopes = jax.grad(lambda r: jnp.sum(drift(*parameters, r, advantage)))(ratio)
    return drift(*parameters, ratio, advantage), slopes


def violations(drift, *parameters) -> list[str]:
    """Names the conditions of mirror learning that `drift(*parameters, r, a)` does not meet."""
    ratio, advantage = grid()
    value, slope = map(np.asarray, values_and_slopes(drift, parameters, ratio, advantage))
    at_one, slope_at_one = map(
        np.asarray, values_and_slopes(drift, parameters, jnp.ones_like(ratio), advantage)
    )
    found = {
        "not finite": not np.all(np.isfinite(value)),
        "gradient not finite": not np.all(np.isfinite(slope)),
        "negative": np.any(value < 0),
        "not zero at ratio 1": np.any(at_one != 0),
        "gradient not zero at ratio 1": np.any(slope_at_one != 0),
    }
    return [complaint for complaint, holds in found.items() if holds]
