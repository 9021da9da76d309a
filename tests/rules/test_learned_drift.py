import dataclasses
import functools

import hypothesis
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from metarl.core.errors import ConfigError
from metarl.rules import LearnedDriftConfig, learned_drift, ppo_clip_drift
from metarl.rules.learned_drift import DRIFT_MARGIN, learned_drift_value

from .properties import grid, violations

HIDDEN = 16
FORMS = [
    LearnedDriftConfig(hidden=HIDDEN),
    LearnedDriftConfig(hidden=HIDDEN, ppo_init=True),
    LearnedDriftConfig(hidden=HIDDEN, temporal=True),
    LearnedDriftConfig(hidden=HIDDEN, temporal=True, ppo_init=True),
]
PLAIN, PPO_INIT, TEMPORAL, _ = FORMS
forms = pytest.mark.parametrize(
    "config", FORMS, ids=["plain", "ppo_init", "temporal", "temporal ppo_init"]
)
few = hypothesis.settings(max_examples=20, deadline=None, derandomize=True)
seeds = st.integers(0, 2**31 - 1)
progresses = st.floats(0.0, 1.0, width=32)
# From vanishing to a thousand times the usual size, where every unit is saturated.
scales = st.sampled_from([1e-6, 1e-2, 1.0, 30.0, 1e3])


def random_theta(seed, scale, config=PLAIN):
    rng = np.random.default_rng(seed)
    return {
        name: jnp.asarray(scale * rng.normal(size=shape), jnp.float32)
        for name, shape in config.shapes.items()
    }


def drift_at(config, theta, progress, r, a):
    return learned_drift_value(config, theta, r, a, progress)


# One function object each, so that a property test compiles once.
DRIFTS = {config: functools.partial(drift_at, config) for config in FORMS}


def drift_of(config, theta, progress=0.3):
    return functools.partial(drift_at, config, theta, progress)


def in_numpy(config, theta, r, a, progress=0.0):
    """The formula in float64, written apart from the code."""
    r, a = np.asarray(r, np.float64), np.asarray(a, np.float64)
    first, last = (np.asarray(theta[name], np.float64) for name in ("first", "last"))
    rows = [np.log(r), np.log(r) ** 2, 1 - r, (1 - r) ** 2]
    inputs = np.array(rows + [a * row for row in rows])
    if config.temporal:
        inputs = np.concatenate([inputs, progress * inputs])
    inner = np.tanh(inputs.T @ first) @ last[:, 0] - 1e-4
    if config.ppo_init:
        clipped = np.clip(r, 1 - config.epsilon, 1 + config.epsilon)
        inner = inner + np.maximum((r - clipped) * a, 0)
    return np.maximum(inner, 0)


@forms
@few
@hypothesis.given(seed=seeds, scale=scales, progress=progresses)
def test_every_theta_meets_the_drift_conditions(config, seed, scale, progress):
    assert violations(DRIFTS[config], random_theta(seed, scale, config), progress) == []


@forms
@few
@hypothesis.given(seed=seeds)
def test_elementwise(config, seed):
    drift = drift_of(config, random_theta(seed, 1.0, config))
    ratio, advantage = grid()
    order = np.random.default_rng(seed).permutation(ratio.shape[0])
    # Not to the bit: a matrix product may block its rows in another way.
    np.testing.assert_allclose(
        drift(ratio[order], advantage[order]),
        drift(ratio, advantage)[order],
        rtol=1e-6,
        atol=HIDDEN * np.finfo(np.float32).eps,
    )


@forms
@few
@hypothesis.given(seed=seeds, scale=st.sampled_from([0.1, 1.0]), progress=progresses)
def test_against_numpy(config, seed, scale, progress):
    theta = random_theta(seed, scale, config)
    rng = np.random.default_rng(seed)
    ratio = jnp.asarray(np.exp(rng.normal(0, 0.5, 64)), jnp.float32)
    advantage = jnp.asarray(rng.normal(0, 2, 64), jnp.float32)
    expected = in_numpy(config, theta, ratio, advantage, progress)
    # Inputs reach about 30 and the sums have 8 or 16 and HIDDEN terms, each rounded to eps; a tanh
    # has slope at most 1, so the error of its argument passes to the output through `last`.
    error = len(theta["first"]) * 30 * scale * np.finfo(np.float32).eps
    tolerance = (error + np.finfo(np.float32).eps) * np.sum(np.abs(theta["last"]))
    np.testing.assert_allclose(
        DRIFTS[config](theta, progress, ratio, advantage), expected, atol=tolerance, rtol=1e-6
    )


@forms
def test_gradient_against_finite_differences(config):
    with jax.enable_x64(True):
        theta = {k: x.astype(jnp.float64) for k, x in random_theta(3, 0.5, config).items()}
        rng = np.random.default_rng(4)
        ratio, advantage = np.exp(rng.normal(0, 0.4, 200)), rng.normal(0, 1, 200)
        step, progress = 1e-6, 0.7
        low = in_numpy(config, theta, ratio - step, advantage, progress)
        high = in_numpy(config, theta, ratio + step, advantage, progress)
        # Away from kinks: both sides rectified alike, and not at the edge of the clip interval.
        smooth = (np.sign(low) == np.sign(high)) & (np.abs(np.abs(ratio - 1) - 0.2) > 1e-3)
        drift = drift_of(config, theta, progress)
        gradient = jax.grad(lambda r: drift(r, advantage).sum())
        numeric = (high - low) / (2 * step)
        assert np.sum(numeric[smooth] != 0) > 20
        # Central differences err by step^2 f''' / 6 and by eps f / step, both below 1e-8 here.
        np.testing.assert_allclose(gradient(jnp.asarray(ratio))[smooth], numeric[smooth], atol=1e-7)


def test_at_the_start_of_a_life_a_temporal_drift_is_the_plain_one_of_its_first_rows():
    """And at the end, where `W1 [x, x] = (U + V) x`, that of the sum of both halves."""
    theta = random_theta(0, 0.3, TEMPORAL)
    start, end = theta["first"][:8], theta["first"][:8] + theta["first"][8:]
    rng = np.random.default_rng(1)
    ratio = jnp.asarray(np.exp(rng.normal(0, 0.4, 200)), jnp.float32)
    advantage = jnp.asarray(rng.normal(0, 1, 200), jnp.float32)
    found = []
    for progress, first in ((0.0, start), (1.0, end)):
        expected = learned_drift_value(PLAIN, {**theta, "first": first}, ratio, advantage)
        found.append(learned_drift_value(TEMPORAL, theta, ratio, advantage, progress))
        # Sums of 16 terms of size up to 10, each rounded; then HIDDEN ones of a drift below 10.
        slack = 16 * 10 * HIDDEN * np.finfo(np.float32).eps
        np.testing.assert_allclose(found[-1], expected, atol=slack)
    assert np.max(np.abs(found[0] - found[1])) > 0.1


def test_a_zero_network_is_no_drift_or_ppo_up_to_the_margin(key):
    ratio, advantage = grid()
    plain, corrected = (learned_drift(config) for config in (PLAIN, PPO_INIT))
    start = plain.init(key)
    assert np.all(start["last"] == 0)
    assert np.any(start["first"] != 0)
    np.testing.assert_array_equal(plain.apply(start, ratio, advantage, 0.0), 0.0)
    drift = corrected.apply(corrected.init(key), ratio, advantage, 0.0)
    gap = ppo_clip_drift(ratio, advantage) - drift
    # The subtraction of the margin is rounded to the size of the drift.
    slack = np.finfo(np.float32).eps * np.asarray(ppo_clip_drift(ratio, advantage))
    assert np.all((gap >= 0) & (gap <= DRIFT_MARGIN + slack))


def test_init_has_the_stated_spread(key):
    config = LearnedDriftConfig(hidden=512, init_std=0.3)
    first = np.asarray(learned_drift(config).init(key)["first"])
    # The standard error of a standard deviation from n normal numbers is std / sqrt(2 n).
    assert abs(first.std() - 0.3) < 4 * 0.3 / np.sqrt(2 * first.size)


def test_same_values_under_jit_and_vmap(key):
    config = PPO_INIT
    theta = random_theta(0, 1.0)
    ratio, advantage = grid()
    drift = drift_of(config, theta)
    expected = drift(ratio, advantage)
    close = {"rtol": 1e-6, "atol": HIDDEN * np.finfo(np.float32).eps}
    np.testing.assert_allclose(jax.jit(drift)(ratio, advantage), expected, **close)
    np.testing.assert_allclose(jax.vmap(drift)(ratio, advantage), expected, **close)


@pytest.mark.parametrize("change", [{"hidden": 0}, {"epsilon": 2.0}, {"init_std": -1.0}])
def test_settings_out_of_range_are_refused(change):
    with pytest.raises(ConfigError):
        dataclasses.replace(LearnedDriftConfig(), **change)
