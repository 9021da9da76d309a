import jax
import jax.numpy as jnp
import numpy as np
import pytest

from metarl.core.errors import ConfigError
from metarl.rules import (
    LearnedDriftConfig,
    by_name,
    dpo,
    dpo_drift,
    kl_drift,
    learned_drift,
    load,
    mdpo,
    no_drift,
    none,
    ppo,
    ppo_clip_drift,
    pretrained,
)
from metarl.rules.switch import SwitchTheta, switch

from .properties import grid, overflows, values_and_slopes, violations

HANDCRAFTED = {
    "none": no_drift,
    "ppo": ppo_clip_drift,
    "dpo": dpo_drift,
    "kl": lambda ratio, advantage: kl_drift(ratio, 0.7),
}
# Rounding of a handful of float32 operations, relative to the largest term.
ROUNDING = 8 * np.finfo(np.float32).eps


def drift_of(rule, progress=0.5):
    return lambda r, a: rule.apply(rule.init(jax.random.key(0)), r, a, jnp.float32(progress))


@pytest.mark.parametrize("name", HANDCRAFTED)
def test_the_drift_conditions_hold(name):
    assert violations(HANDCRAFTED[name]) == []


@pytest.mark.parametrize(
    ("bad", "complaint"),
    [
        (lambda r, a: jnp.abs(r - 1.0) * jnp.abs(a), "gradient not zero at ratio 1"),
        (lambda r, a: jax.nn.relu((r - 0.999) * a), "not zero at ratio 1"),
        (lambda r, a: (r - 1.0) ** 2 * a, "negative"),
        (lambda r, a: (r - 1.0) ** 2 / (r - r), "not finite"),
        (lambda r, a: jnp.sqrt((r - 1.0) ** 2) ** 2, "gradient not finite"),
    ],
)
def test_the_checker_finds_a_bad_drift(bad, complaint):
    assert complaint in violations(bad)


def _thetas(config, scales=(0.0, 1e-6, 1e-2, 1.0, 30.0, 1e5)):
    """Random thetas, stacked, from a first layer of zeros to weights of 1e5 times the usual."""
    rng = np.random.default_rng(0)
    scale = np.array(scales)[:, None, None]
    # A layer of zeros before a full one: infinite features times zero would be NaN.
    first = scale * rng.normal(size=(len(scales), *config.shapes["first"]))
    last = np.maximum(scale, 1.0) * rng.normal(size=(len(scales), *config.shapes["last"]))
    return {"first": jnp.asarray(first, jnp.float32), "last": jnp.asarray(last, jnp.float32)}


def _learned(progress=1.0, **form):
    config = LearnedDriftConfig(hidden=8, **form)
    drift = learned_drift(config).apply
    return lambda theta, r, a: drift(theta, r, a, progress), _thetas(config)


def _pretrained(name):
    rule = load(name).drift
    thetas = jax.tree.map(lambda x: x[None], rule.init(None))
    return lambda theta, r, a: rule.apply(theta, r, a, 0.5), thetas


def _switch():
    """Every branch: where `which` is vmapped, those not chosen have gradients of zero."""
    config = LearnedDriftConfig(hidden=8)
    rule = switch((mdpo(), dpo(), learned_drift(config)))

    def drift(theta, r, a):
        which, learned = theta
        return rule.apply(SwitchTheta(jnp.int32(which), ((), (), learned)), r, a, 1.0)

    return drift, (jnp.arange(3.0), jax.tree.map(lambda x: x[2:5], _thetas(config)))


EXTREMES = {
    "mdpo at the end": lambda: (lambda _, r, a: mdpo().apply((), r, a, 1.0),),
    "learned": _learned,
    "learned ppo_init": lambda: _learned(ppo_init=True),
    "learned temporal": lambda: _learned(temporal=True),
    "learned temporal ppo_init": lambda: _learned(0.3, temporal=True, ppo_init=True),
    "switch": _switch,
}
# DPO's slope is A / r where A < 0: beyond this it is no float32 at ratios down to 1e-30.
LARGEST_ADVANTAGES = {"dpo": 1e8, "switch": 1e8}


@pytest.mark.parametrize("name", [*HANDCRAFTED, *EXTREMES, *pretrained()])
def test_finite_wherever_ppo_is(name):
    if name in HANDCRAFTED:
        case = (lambda _, r, a: HANDCRAFTED[name](r, a),)
    else:
        case = EXTREMES[name]() if name in EXTREMES else _pretrained(name)
    limits = {"largest_advantage": LARGEST_ADVANTAGES[name]} if name in LARGEST_ADVANTAGES else {}
    assert overflows(*case, **limits) == []


@pytest.mark.parametrize(
    ("bad", "complaint"),
    [
        (lambda _, r, a: jnp.tanh(r**2 - r**4), "value"),
        (lambda _, r, a: jnp.tanh(jnp.log(r)), "slope"),
        (lambda _, r, a: 1.5 * jax.nn.relu(r - 2e38), "slope in the log ratio"),
        (lambda w, r, a: jnp.tanh(w[0] * r**2), "gradient of theta"),
    ],
)
def test_the_checker_of_extremes_finds_a_bad_drift(bad, complaint):
    assert complaint in overflows(bad)


def test_dpo_overflows_to_infinity_and_not_to_nan():
    ratio, advantage = jnp.array([0.0, 1e-30, 1e-20]), jnp.array([-1e37, -1e37, -3e38])
    value, slope = values_and_slopes(dpo_drift, (), ratio, advantage)
    assert not np.any(np.isnan(value))
    assert not np.any(np.isnan(slope))


@pytest.mark.parametrize("epsilon", [0.1, 0.2, 0.3])
def test_ppo_drift_leaves_the_clipped_surrogate(epsilon):
    r, a = grid()
    # Kept to ratios at which r A does not drown the clipped term in rounding.
    r, a = r[r < 100], a[r < 100]
    surrogate = np.asarray(r * a - ppo_clip_drift(r, a, epsilon), np.float64)
    r, a = np.asarray(r, np.float64), np.asarray(a, np.float64)
    expected = np.minimum(r * a, np.clip(r, 1 - epsilon, 1 + epsilon) * a)
    np.testing.assert_allclose(surrogate, expected, atol=ROUNDING * np.max(np.abs(r * a)))


def test_dpo_check_values():
    ratio, advantage = jnp.array([2.0, 0.5, 0.5]), jnp.array([3.0, 1.0, -1.0])
    expected = [1.18970349, 0.0, 0.20145660]
    np.testing.assert_allclose(dpo_drift(ratio, advantage), expected, atol=ROUNDING * 3)


def test_dpo_against_numpy():
    r, a = grid()
    x, y = np.asarray(r, np.float64), np.asarray(a, np.float64)
    up, down = (x - 1) * y, np.log(x) * y
    expected = np.where(y >= 0, up - 2 * np.tanh(up / 2), down - 0.6 * np.tanh(down / 0.6))
    expected = np.maximum(expected, 0)
    largest = np.maximum(np.abs(np.where(y >= 0, up, down)), 1)
    assert np.max(np.abs(dpo_drift(r, a) - expected) / largest) < ROUNDING


def test_kl_drift_averages_to_the_divergence():
    # Exact expectation under the old policy of a four-armed bandit, in float64 NumPy.
    old, new = np.array([0.1, 0.2, 0.3, 0.4]), np.array([0.25, 0.25, 0.4, 0.1])
    divergence = np.sum(new * np.log(new / old))
    drift = kl_drift(jnp.asarray(new / old, jnp.float32), 3.0)
    np.testing.assert_allclose(np.sum(old * drift), 3.0 * divergence, rtol=ROUNDING)


def test_kl_drift_keeps_its_digits_near_one():
    r = np.float32(1) + np.float32([-1e-3, -1e-5, 1e-5, 1e-3])
    x = r.astype(np.float64) - 1
    # Taylor series of r log r - r + 1 about 1; its next term is below 1e-9 relative.
    expected = x**2 / 2 - x**3 / 6 + x**4 / 12
    # x cancels and x^2 / 2 is left: an error of eps x is 2 eps / x of it, 1% at x = 1e-5.
    np.testing.assert_allclose(kl_drift(jnp.asarray(r), 1.0), expected, rtol=1e-2)


@pytest.mark.parametrize("progress", [0.0, 0.25, 1.0])
def test_mdpo_anneals_its_step_size(progress):
    r, a = jnp.array([0.3, 1.0, 4.0]), jnp.array([1.0, -2.0, 3.0])
    step_size = max(0.8 * (1 - progress), 0.05)
    drift = drift_of(mdpo(0.8, smallest_step_size=0.05), progress)(r, a)
    x = np.asarray(r, np.float64)
    np.testing.assert_allclose(
        drift, (x * np.log(x) - x + 1) / step_size, rtol=ROUNDING * 4, atol=0
    )


@pytest.mark.parametrize("name", ["none", "ppo", "dpo", "mdpo"])
def test_rules_by_name_have_no_theta_and_meet_the_conditions(name):
    rule = by_name(name)
    assert rule.name == name
    assert rule.init(jax.random.key(0)) == ()
    assert violations(drift_of(rule)) == []


def test_rules_pass_their_settings_on():
    r, a = grid()
    np.testing.assert_array_equal(drift_of(ppo(0.1))(r, a), ppo_clip_drift(r, a, 0.1))
    np.testing.assert_array_equal(drift_of(dpo(1.0, 0.3))(r, a), dpo_drift(r, a, 1.0, 0.3))
    np.testing.assert_array_equal(drift_of(none())(r, a), np.zeros_like(r))


@pytest.mark.parametrize(
    "make",
    [
        lambda: ppo(0.0),
        lambda: ppo(-0.2),
        lambda: ppo(1.5),
        lambda: ppo(float("nan")),
        lambda: dpo(alpha=0.0),
        lambda: dpo(beta=-1.0),
        lambda: mdpo(0.0),
        lambda: mdpo(0.1, smallest_step_size=0.2),
    ],
)
def test_settings_out_of_range_are_refused(make):
    with pytest.raises(ConfigError):
        make()


def test_unknown_rule_names_the_nearest():
    with pytest.raises(ConfigError, match="mean 'mdpo'"):
        by_name("mdop")
