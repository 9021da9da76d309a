"""The exact optimum: closed forms, enumeration, an expectimax in plain Python, Monte Carlo."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from metarl.core.errors import ConfigError
from metarl.envs.gridworld import (
    Item,
    LevelShape,
    grid_world,
    level_from_map,
    optimal_policy,
    optimal_return,
    policy_return,
)
from tests.quick_compilation import quick_jit

from .simulator import EVENTFUL, Plain, exact_value, host, pick, play

SHAPE, HORIZON, COUNT = EVENTFUL.shape, 12, 9


@pytest.fixture(scope="module")
def levels():
    keys = jax.random.split(jax.random.key(5), COUNT)
    levels = quick_jit(jax.vmap(EVENTFUL.sample))(keys)
    return levels._replace(random_start=jnp.arange(COUNT) % 3 == 1)


@pytest.fixture(scope="module")
def optima(levels):
    return np.asarray(jax.vmap(optimal_return)(levels))


@pytest.fixture(scope="module")
def policies(levels):
    """Random ones, `[COUNT, S, A]`."""
    logits = jax.random.normal(jax.random.key(6), (COUNT, SHAPE.states, 5))
    return jax.nn.softmax(2.0 * logits)


def test_the_optimum_is_that_of_an_expectimax(levels, optima):
    for i, level in enumerate(pick(host(levels), n) for n in range(COUNT)):
        # Twelve steps of sums of five numbers of order one, in float32.
        assert optima[i] == pytest.approx(exact_value(level), abs=1e-5)
    assert np.ptp(optima) > 0.5


def test_the_return_of_a_policy_is_that_of_an_expectation(levels, policies, optima):
    got = np.asarray(jax.vmap(policy_return)(levels, policies))
    width = SHAPE.width
    for i in range(COUNT):
        table = np.asarray(policies[i], np.float64)

        def policy(time, agent, present, table=table):
            mask = sum(2**k for k, there in enumerate(present) if there)
            return table[agent[0] * width + agent[1] + SHAPE.cells * mask]

        assert got[i] == pytest.approx(exact_value(pick(host(levels), i), policy), abs=1e-5)
    assert np.all(got <= optima + 1e-6)
    assert np.mean(got) < np.mean(optima) - 0.5


def test_the_optimal_policy_reaches_the_optimum(levels, optima):
    tables = jax.nn.one_hot(jax.vmap(lambda level: optimal_policy(level, HORIZON))(levels), 5)
    np.testing.assert_allclose(jax.vmap(policy_return)(levels, tables), optima, atol=1e-5)


def test_monte_carlo_agrees_within_its_standard_error(levels, policies, optima):
    """Episodes of the environment itself, under the optimal policy and under a random one."""
    env = grid_world(pick(levels, 0), "index")
    best = jax.vmap(lambda level: optimal_policy(level, HORIZON))(levels)

    def episode(key, level, tables):
        key_reset, key_steps = jax.random.split(key)
        obs, state = env.reset(key_reset, level)

        def act(carry, inputs):
            obs, state, alive = carry
            key, table = inputs
            key_action, key_step = jax.random.split(key)
            action = jax.random.categorical(key_action, jnp.log(table[obs]))
            step = env.step(key_step, state, action, level)
            return (step.obs, step.state, alive & ~step.done), alive * step.reward

        inputs = (jax.random.split(key_steps, HORIZON), tables)
        return jnp.sum(jax.lax.scan(act, (obs, state, jnp.bool_(True)), inputs)[1])

    many = quick_jit(jax.vmap(jax.vmap(episode, (0, None, None))))
    keys = jax.random.split(jax.random.key(7), (COUNT, 2000))
    stationary = jnp.broadcast_to(policies[:, None], (COUNT, HORIZON, *policies.shape[1:]))
    for tables, exact in (
        (jax.nn.one_hot(best, 5), optima),
        (stationary, jax.vmap(policy_return)(levels, policies)),
    ):
        returns = np.asarray(many(keys, levels, tables))
        error = returns.std(axis=1) / np.sqrt(returns.shape[1])
        # Nine comparisons: four standard errors are passed by chance once in a thousand times.
        assert np.all(np.abs(returns.mean(axis=1) - exact) < 4 * error + 1e-5)
        assert np.all(error < 0.05)


@pytest.mark.parametrize("horizon", [3, 4, 9])
def test_a_corridor_has_a_closed_form(horizon):
    """Four steps away, then a prize in every second step, each of which may be the last."""
    end = 0.25
    level = level_from_map("A...g", {"g": Item(2.0, end, 1.0)}, horizon=4)
    level = level._replace(horizon=jnp.int32(horizon))
    prizes = max(0, (horizon - 4) // 2 + 1)
    expected = 2.0 * sum((1.0 - end) ** k for k in range(prizes))
    assert float(optimal_return(level)) == pytest.approx(expected, rel=1e-6)
    distance = jnp.argmax(optimal_policy(level, 9)[:, 0] == 3)
    assert prizes == 0 or distance == 0 or horizon == 9


def test_a_deterministic_level_agrees_with_every_sequence_of_actions():
    """A dear prize that ends the episode, cheap ones that come back, and a toll on the way."""
    items = {"e": Item(1.5, 1.0), "c": Item(0.4, 0.0, 1.0), "t": Item(-0.3)}
    level = level_from_map("cA#\n.te", items, horizon=6)
    plain, best = host(level), -np.inf
    draws = type("Draws", (), {"terminate": 0.5, "respawn": [0.5] * 3, "cells": []})
    for actions in itertools.product(range(5), repeat=6):
        state, total = Plain(0, (0, 1), ((0, 0), (1, 1), (1, 2))), 0.0
        for action in actions:
            state, reward, ended, _ = play(plain, state, draws, action)
            total += reward
            if ended:
                break
        best = max(best, total)
    assert float(optimal_return(level)) == pytest.approx(best, abs=1e-6)
    assert best == pytest.approx(0.4 * 2 + 1.5 - 0.3)  # collected by hand


def test_random_objects_have_no_oracle():
    level = level_from_map("A.g", {"g": Item(1.0)}, 3, random_objects=True)
    for call in (
        lambda: optimal_return(level),
        lambda: optimal_policy(level, 3),
        lambda: policy_return(level, jnp.full((6, 5), 0.2)),
    ):
        with pytest.raises(ConfigError, match="random objects is not known"):
            call()
    assert np.isnan(jax.jit(optimal_return)(level))
    assert np.isfinite(optimal_return(level._replace(random_objects=jnp.bool_(False))))


def test_bad_requests_are_refused():
    level = level_from_map("A.g", {"g": Item(1.0)}, horizon=3)
    with pytest.raises(ConfigError, match=r"\[\.\.\., 6, 5\], got \(5, 5\)"):
        policy_return(level, jnp.full((5, 5), 0.2))
    with pytest.raises(ConfigError, match="2 steps, the level a horizon of 3"):
        policy_return(level, jnp.full((2, 6, 5), 0.2))
    with pytest.raises(ConfigError, match="more than 2"):
        optimal_policy(level, 2)
    wide = level_from_map("A.g", {"g": Item(1.0)}, 3, LevelShape(1, 3, 21))
    with pytest.raises(ConfigError, match="states"):
        optimal_return(wide)


def test_the_horizon_is_data():
    """The level of one compiled program may be of any length; longer is never worse."""
    level = level_from_map("A..g..g", {"g": Item(1.0, p_respawn=0.1)}, horizon=9)
    horizons = jnp.array([1, 3, 6, 100])
    values = jax.vmap(lambda h: optimal_return(level._replace(horizon=h)))(horizons)
    assert np.all(np.diff(values) >= 0)
    assert values[-1] > values[2] == 2.0
    np.testing.assert_array_equal(values[:2], [0.0, 1.0])
