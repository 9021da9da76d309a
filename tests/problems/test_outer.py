"""What moves theta: every setting arrives, or is refused."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from metarl import envs
from metarl.core.contracts import Unroll
from metarl.core.errors import ConfigError
from metarl.core.mesh import Layout
from metarl.estimators.full_es import FullESConfig
from metarl.problems.config import OuterConfig
from metarl.problems.outer import es_meta_optimizer, gradient_rule, learning_rate
from metarl.tasks.environments import FixedTask
from tests.run.tiny import BANDIT

DIMENSIONS = 50


class _Still:
    """A learner that logs the theta it was given, and a random number."""

    def init(self, key, theta, task):
        return jax.random.normal(key)

    def step(self, key, theta, task, state):
        return state, {"theta": theta, "luck": state}


def _meta(es=None, outer=None, envs_count=1, loss=None):
    env = envs.make(BANDIT)
    loss = loss or (lambda logs: jnp.sum(logs["theta"][0] ** 2))
    unroll = Unroll(FixedTask(env.default_params), _Still(), 1, loss)
    es = replace(FullESConfig(population=16), **(es or {}))
    outer = replace(OuterConfig(optimizer="SNES"), **(outer or {}))
    return es_meta_optimizer(es, outer, (unroll,) * envs_count, Layout())


@pytest.mark.parametrize(
    ("es", "outer", "message"),
    [
        (
            {"sigma": 0.1},
            {"optimizer": "GradientlessDescent"},
            r"es.sigma=0.1 would be ignored: .* has no spread to set\. Leave it at 0.05, or take",
        ),
        ({"sigma": 0.1}, {"optimizer": "iAMaLGaM_Full"}, "es.sigma=0.1 would be ignored"),
        (
            {"antithetic": False, "common_random_numbers": "none"},
            {"optimizer": "PGPE"},
            "es.antithetic=False would be ignored: PGPE always samples in pairs",
        ),
        ({"shaping": "z_score"}, {}, "es.shaping=z_score .* single environment itself"),
        (
            {},
            {"optimizer": "CMA_ES", "learning_rate": 0.02},
            "outer.learning_rate=0.02 would be ignored: CMA_ES sets its own.* Leave it at None",
        ),
        ({}, {"decay": 0.9}, "outer.decay=0.9 .* factor on outer.learning_rate=None"),
    ],
)
def test_what_would_be_ignored_is_refused(es, outer, message):
    with pytest.raises(ConfigError, match=message):
        _meta(es, outer)


def test_what_has_its_default_or_a_use_is_not_refused():
    _meta(outer={"optimizer": "GradientlessDescent"})
    _meta({"antithetic": False, "common_random_numbers": "none", "population": 7})
    _meta({"shaping": "z_score"}, envs_count=2)
    _meta(outer={"learning_rate": 0.1, "decay": 0.9})


@pytest.mark.parametrize("strategy", ["SNES", "Open_ES"])
def test_sigma_is_the_first_spread_and_the_learning_rate_is_used(strategy):
    # The loss of a member is its squared distance from zero, where the search starts; members of a
    # pair would be equally far, and leave no gradient.
    es = {"sigma": 0.3, "antithetic": False, "common_random_numbers": "population"}
    meta = _meta(es, {"optimizer": strategy, "learning_rate": 0.07})
    theta = jnp.zeros(DIMENSIONS)
    _, log = meta.step(jax.random.key(1), meta.init(jax.random.key(0), theta))
    # Standard error of the mean of so many squares of normal numbers.
    error = np.sqrt(2 / (16 * DIMENSIONS))
    assert abs(np.mean(log.losses) / (0.3**2 * DIMENSIONS) - 1) < 4 * error
    # Adam's first step is the rate in every dimension, less an epsilon of 1e-8 beside gradients of
    # more than 1e-4.
    np.testing.assert_allclose(log.update_norm, 0.07 * np.sqrt(DIMENSIONS), rtol=1e-3)


@pytest.mark.parametrize("sharing", ["pair", "population", "none"])
def test_random_numbers_are_shared_as_said(sharing):
    meta = _meta({"common_random_numbers": sharing}, loss=lambda logs: logs["luck"][0])
    _, log = meta.step(jax.random.key(1), meta.init(jax.random.key(0), jnp.zeros(3)))
    # A strategy has no pairs that live side by side, so that all share.
    assert np.unique(log.losses).size == (16 if sharing == "none" else 1)


@pytest.mark.parametrize("antithetic", [True, False])
def test_pairs_are_a_choice_of_open_es(antithetic):
    es = {"antithetic": antithetic, "common_random_numbers": "population"}
    meta = _meta(es, {"optimizer": "Open_ES"})
    _, log = meta.step(jax.random.key(1), meta.init(jax.random.key(0), jnp.zeros(3)))
    # Members of a pair are equally far from the start, which is zero.
    assert np.unique(log.losses).size == (8 if antithetic else 16)


@pytest.mark.parametrize("strategy", ["adam", "sgd"])
def test_a_gradient_rule_has_its_default_rate_and_decay(strategy):
    for rate, expected in ((None, 0.02), (0.5, 0.5)):
        tx = gradient_rule(OuterConfig(strategy, learning_rate=rate, decay=0.25))
        state = tx.init(jnp.zeros(()))
        for step in range(2):
            update, state = tx.update(jnp.ones(()), state)
            # Of a constant gradient of 1 both make the rate; Adam's averages are rounded, and
            # corrected by a division by 1 - 0.999 that magnifies it a thousandfold.
            np.testing.assert_allclose(
                update, -expected * 0.25**step, rtol=1e3 * np.finfo(np.float32).eps
            )


def test_a_gradient_rule_is_no_strategy():
    with pytest.raises(ConfigError, match=r"on a gradient 'SNES'.*Permitted: adam, sgd"):
        gradient_rule(OuterConfig("SNES"))


def test_the_learning_rate_rises_and_falls():
    outer = OuterConfig(
        generations=10, learning_rate=2.0, warm_up=2, cosine_to=0.1, decay=0.9, optimizer="sgd"
    )
    rate = learning_rate(outer)
    for n in range(12):
        fall = 0.1 + 0.9 * (1 + np.cos(np.pi * min(max(n - 2, 0), 8) / 8)) / 2
        expected = 2.0 * 0.9**n * min((n + 1) / 2, 1.0) * fall
        # Powers and cosines of float32.
        np.testing.assert_allclose(rate(n), expected, rtol=3e-6)
    # It is what moves theta: the second step of sgd has the full rate.
    tx, theta = gradient_rule(outer), jnp.float32(0.0)
    state = tx.init(theta)
    for expected in (-1.0, -1.8):
        step, state = tx.update(jnp.float32(1.0), state, theta)
        np.testing.assert_allclose(step, expected, rtol=3e-6)


def test_schedules_need_a_gradient_rule():
    for changes in ({"warm_up": 1}, {"cosine_to": 0.5}):
        with pytest.raises(ConfigError, match="would be ignored"):
            _meta(outer=changes)
    with pytest.raises(ConfigError, match="warm_up must lie"):
        OuterConfig(generations=3, warm_up=4)
