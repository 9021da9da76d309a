"""The conditions that every drift must meet, as checkers that tests use and that are tested."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from metarl.rules import ppo_clip_drift

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


FLOAT32 = np.finfo(np.float32)
_EDGES = [1e-30, 0.8, 1.0, 1.2, 1e10, 1.8446744e19, 1e30]  # 1.8e19 is the root of the largest
EXTREME_RATIOS = np.concatenate([
    [0.0, FLOAT32.smallest_subnormal, 1e-40, FLOAT32.tiny, FLOAT32.max],
    np.geomspace(1e-38, 3e38, 77),
    *([x, np.nextafter(np.float32(x), np.float32(y))] for x in _EDGES for y in (0.0, np.inf)),
]).astype(np.float32)  # fmt: skip
_MAGNITUDES = [1e-38, 1e-3, 1.0, 30.0, 1e4, 1e8, 1e10, 1e20, 1e30, FLOAT32.max]
EXTREME_ADVANTAGES = np.array([0.0, *_MAGNITUDES, *np.negative(_MAGNITUDES)], np.float32)


@functools.partial(jax.jit, static_argnums=0)
def _value_and_gradients(drift, thetas, ratio, advantage):
    """The drift, its slope in the ratio and in its logarithm, and the gradient of every theta."""

    def total(theta, ratio):
        value = drift(theta, ratio, advantage)
        return jnp.sum(value), value

    per_theta = jax.vmap(jax.grad(total, argnums=(0, 1), has_aux=True), in_axes=(0, None))
    (gradient, slope), value = per_theta(thetas, ratio)
    # As in the learner's loss, whose ratio is exp(log_ratio): the derivative of exp is the ratio.
    return value, slope, slope * ratio[None], gradient


def overflows(drift, thetas=None, largest_advantage=FLOAT32.max) -> list[str]:
    """Names what of `drift(theta, r, a)` is not finite somewhere that PPO's drift is.

    Over float32 ratios from 0 to the largest, with every advantage up to `largest_advantage` in
    magnitude.

    Args:
      drift: elementwise in its last two arguments.
      thetas: stack of parameters, one theta a row; None = one that is unused.
      largest_advantage: magnitude beyond which nothing is asked.
    """
    unused = np.zeros((1, 1), np.float32)
    ratio, advantage = (x.ravel() for x in np.meshgrid(EXTREME_RATIOS, EXTREME_ADVANTAGES))
    of_ppo = _value_and_gradients(_ppo, unused, ratio, advantage)[:3]
    asked = np.logical_and.reduce([np.isfinite(x[0]) for x in of_ppo])
    asked &= np.abs(advantage) <= largest_advantage
    # Other points would spoil the gradient of theta, which is a sum over all.
    ratio, advantage = np.where(asked, ratio, 1), np.where(asked, advantage, 0)
    thetas = unused if thetas is None else thetas
    value, slope, log_slope, gradient = _value_and_gradients(drift, thetas, ratio, advantage)
    found = {
        "value": [value],
        "slope": [slope],
        "slope in the log ratio": [log_slope],
        "gradient of theta": jax.tree.leaves(gradient),
    }
    return [what for what, x in found.items() if not all(np.all(np.isfinite(y)) for y in x)]


def _ppo(theta, ratio, advantage):
    del theta
    return ppo_clip_drift(ratio, advantage)
