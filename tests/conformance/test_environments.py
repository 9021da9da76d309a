"""Every registered environment keeps the protocol.

One compiled program per environment returns what all the checks look at: it runs an autoreset,
time-limited rollout twice, batched over keys and parameters by `vmap` and one by one by `lax.map`.
"""

from functools import cache
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from metarl.envs import Box, Discrete, gymnax, make, registered
from metarl.envs.wrappers import autoreset, episode_statistics, time_limit
from tests.quick_compilation import quick_jit

STEPS, LIMIT, OWN_LIMIT, COPIES = 10, 4, 3, 2

# Observations of gymnax 1.0.1 that leave the bounds that it states itself.
WRONG_BOUNDS = {
    "gymnax/MemoryChain-bsuite",  # the context is -1 or 1, the lower bound 0
    "gymnax/GaussianBandit-misc",  # rewards and normalised time below 0
}

BY_DEFAULT = {
    "gymnax/CartPole-v1",
    "gymnax/Pendulum-v1",
    "gymnax/Breakout-MinAtar",
    "gymnax/Catch-bsuite",
    "gymnax/MemoryChain-bsuite",
    "gymnax/FourRooms-misc",
    "gymnax/GaussianBandit-misc",
    "grid/rand_tiny",
    "grid/mazes",
    "chain/distractor",
}
"""Each kind of dynamics, space and observation once; the others are slow."""


def by_default(names):
    slow = pytest.mark.slow
    return [name if name in BY_DEFAULT else pytest.param(name, marks=slow) for name in names]


GYMNAX = [name for name in registered() if name.startswith("gymnax/")]
BRAX = ["brax/inverted_pendulum", "brax/reacher"]
# Of our own: both observations, fixed and random objects, a mixture, chains seen both ways.
OWN = [
    "grid/small",
    "grid/mazes",
    "grid/rand_tiny",
    "chain/long_noisy",
    "chain/distractor",
]
TABLE = by_default(GYMNAX + OWN + BRAX)


class Record(NamedTuple):
    """What happened, `[COPIES, STEPS, ...]`; `plain` is the same step without autoreset."""

    obs: jax.Array
    reward: jax.Array
    terminated: jax.Array
    truncated: jax.Array
    info: dict
    plain_obs: jax.Array
    plain_reward: jax.Array
    plain_terminated: jax.Array
    plain_truncated: jax.Array
    fresh_obs: jax.Array
    first_obs: jax.Array


class Rollouts(NamedTuple):
    env: object
    batched: Record
    looped: Record
    again: Record
    own_limit: Record | None


def fake_mnist(*_):
    images = np.random.default_rng(0).integers(0, 256, (12, 28, 28)).astype(np.uint8)
    return (images, np.arange(12, dtype=np.uint8) % 10), None


def make_offline(name):
    """Makes an environment; the one that downloads data gets a few random images instead."""
    if name.startswith("brax/"):
        return make(name, backend="positional", vary=("gravity",))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("gymnax.utils.load_mnist.load_mnist", fake_mnist)
        return make(name)


def program(env):
    """Returns `(keys, params) -> (batched record, looped record)`."""
    plain = episode_statistics(time_limit(env, LIMIT))
    wrapped = autoreset(plain)

    def rollout(key, params):
        key_reset, key_actions, key_draws = jax.random.split(key, 3)
        actions = jax.vmap(env.action_space.sample)(jax.random.split(key_actions, STEPS))
        draws = jax.vmap(wrapped.draw, (0, None))(jax.random.split(key_draws, STEPS), params)

        def act(state, inputs):
            draw, action = inputs
            step = wrapped.transition(draw, state, action, params)
            alone = plain.transition(draw[0], state, action, params)
            # A carry whose structure or dtype drifts cannot pass through a scan and a cond.
            state = jax.lax.cond(jnp.isnan(step.reward), lambda: state, lambda: step.state)
            return state, (step._replace(state=()), alone._replace(state=(), info={}))

        first_obs, state = wrapped.reset(key_reset, params)
        _, (step, alone) = jax.lax.scan(act, state, (draws, actions))
        return Record(
            *(step.obs, step.reward, step.terminated, step.truncated, step.info),
            *(alone.obs, alone.reward, alone.terminated, alone.truncated),
            fresh_obs=draws[1][0],
            first_obs=first_obs,
        )

    def both(keys, params):
        stacked = jax.tree.map(lambda x: jnp.stack([x] * COPIES), params)
        looped = jax.lax.map(lambda key: rollout(key, params), keys)
        return jax.vmap(rollout)(keys, stacked), looped

    return quick_jit(both)


@cache
def rollouts(name):
    env = make_offline(name)
    # gymnax's Swimmer adds arrays of different rank; our own code is tested strictly elsewhere.
    with jax.numpy_rank_promotion("allow"):
        run = program(env)
        keys = jax.random.split(jax.random.key(0), COPIES)
        params = env.default_params
        batched, looped = run(keys, params)
        again, _ = run(keys, params)
        own_limit = None
        if hasattr(params, "max_steps_in_episode"):
            limit = jnp.full_like(params.max_steps_in_episode, OWN_LIMIT)
            _, own_limit = run(keys, params.replace(max_steps_in_episode=limit))
        if hasattr(params, "horizon"):
            limit = jnp.full_like(params.horizon, OWN_LIMIT)
            _, own_limit = run(keys, params._replace(horizon=limit))
    return jax.tree.map(np.asarray, Rollouts((), batched, looped, again, own_limit))._replace(
        env=env
    )


def assert_same(actual, expected, rtol, atol):
    for got, wanted in zip(jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True):
        assert got.dtype == wanted.dtype
        np.testing.assert_allclose(got, wanted, rtol=rtol, atol=atol)


def contains(space, x):
    rounding = 1e-5 * max(1.0, *(abs(b) for b in (space.low, space.high) if np.isfinite(b)), 0.0)
    return np.all((x >= space.low - rounding) & (x <= space.high + rounding))


@pytest.mark.parametrize("name", TABLE)
def test_shapes_and_dtypes_are_those_of_the_spaces(name):
    env, record = rollouts(name).env, rollouts(name).batched
    assert env.name == name
    assert env.batch_shape == ()
    assert isinstance(env.action_space, Discrete | Box)
    assert isinstance(env.observation_space, Box)
    for obs in (record.obs, record.plain_obs, record.fresh_obs, record.info["final_obs"]):
        assert obs.shape == (COPIES, STEPS, *env.observation_space.shape)
        assert obs.dtype == np.float32
    assert record.first_obs.shape == (COPIES, *env.observation_space.shape)
    for value, dtype in (
        (record.reward, np.float32),
        (record.terminated, np.bool_),
        (record.truncated, np.bool_),
    ):
        assert value.shape == (COPIES, STEPS)
        assert value.dtype == dtype
    for leaf in jax.tree.leaves(env.default_params):
        assert isinstance(leaf, jax.Array)
        assert not leaf.weak_type


@pytest.mark.parametrize("name", TABLE)
def test_numbers_are_finite_and_within_the_stated_bounds(name):
    env, record = rollouts(name).env, rollouts(name).batched
    assert np.all(np.isfinite(record.obs))
    assert np.all(np.isfinite(record.reward))
    inside = contains(env.observation_space, np.stack([record.obs, record.plain_obs]))
    assert inside == (name not in WRONG_BOUNDS)


@pytest.mark.parametrize("name", TABLE)
def test_batching_keys_and_params_changes_nothing(name):
    # One ulp a step, amplified over STEPS steps of smooth dynamics.
    assert_same(rollouts(name).batched, rollouts(name).looped, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", TABLE)
def test_same_key_same_bits(name):
    assert_same(rollouts(name).again, rollouts(name).batched, rtol=0, atol=0)


@pytest.mark.parametrize("name", TABLE)
def test_autoreset_changes_the_observation_only_and_keeps_the_final_one(name):
    record = rollouts(name).looped
    np.testing.assert_array_equal(record.reward, record.plain_reward)
    np.testing.assert_array_equal(record.terminated, record.plain_terminated)
    np.testing.assert_array_equal(record.truncated, record.plain_truncated)
    np.testing.assert_array_equal(record.info["final_obs"], record.plain_obs)
    done = record.terminated | record.truncated
    assert done.any()
    np.testing.assert_array_equal(record.obs[done], record.fresh_obs[done])
    np.testing.assert_array_equal(record.obs[~done], record.plain_obs[~done])


def check_limit(record, limit):
    """Recounts episodes from the flags, and compares with the limit and the statistics."""
    assert not np.any(record.terminated & record.truncated)
    for copy in range(COPIES):
        length = 0
        for t in range(STEPS):
            length += 1
            assert record.info["episode_length"][copy, t] == length
            ended = record.terminated[copy, t]
            assert record.truncated[copy, t] == (length == limit and not ended)
            if ended or length == limit:
                length = 0


@pytest.mark.parametrize("name", TABLE)
def test_time_limit_truncates_at_exactly_the_limit_and_the_episode_restarts(name):
    check_limit(rollouts(name).looped, LIMIT)


@pytest.mark.parametrize(
    "name", by_default(GYMNAX + [name for name in OWN if name.startswith("grid/")])
)
def test_the_limit_of_the_environment_is_a_parameter_and_truncates(name):
    check_limit(rollouts(name).own_limit, OWN_LIMIT)


@pytest.mark.parametrize("name", by_default(GYMNAX))
def test_without_jit_and_through_step_the_same(name):
    env = make_offline(name)
    with jax.numpy_rank_promotion("allow"):
        key_reset, key_actions, key_draws = jax.random.split(
            jax.random.split(jax.random.key(0), COPIES)[0], 3
        )
        action = env.action_space.sample(jax.random.split(key_actions, STEPS)[0])
        wrapped = autoreset(env)
        _, state = wrapped.reset(key_reset, env.default_params)
        key = jax.random.split(key_draws, STEPS)[0]
        step = wrapped.step(key, state, action, env.default_params)
    record = jax.tree.map(lambda x: x[0, 0], rollouts(name).looped)
    expected = (record.obs, record.info["final_obs"], record.reward, record.terminated)
    got = (step.obs, step.info["final_obs"], step.reward, step.terminated)
    assert_same(got, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", TABLE)
def test_a_step_keeps_the_structure_and_the_types_of_the_state(name):
    env, key = rollouts(name).env, jax.random.key(0)
    with jax.numpy_rank_promotion("allow"):
        action = jax.eval_shape(env.action_space.sample, key)
        _, before = jax.eval_shape(env.reset, key, env.default_params)
        step = jax.eval_shape(env.step, key, before, action, env.default_params)
    assert jax.tree.structure(before) == jax.tree.structure(step.state)
    for old, new in zip(jax.tree.leaves(before), jax.tree.leaves(step.state), strict=True):
        assert (old.shape, old.dtype) == (new.shape, new.dtype)
    # A weak type would be another type to jit: it would compile twice.
    assert not any(leaf.weak_type for leaf in jax.tree.leaves((before, step)))


@pytest.mark.parametrize("name", by_default(GYMNAX))
def test_no_state_is_cast_to_a_narrower_type(name):
    """The adapter casts a step's state to the types of the reset's: nothing may be lost by it."""
    import gymnax as library

    with pytest.MonkeyPatch.context() as patch, jax.numpy_rank_promotion("allow"):
        patch.setattr("gymnax.utils.load_mnist.load_mnist", fake_mnist)
        env, params = library.make(name.removeprefix("gymnax/"))
        key = jax.random.key(0)
        action = jax.eval_shape(make_offline(name).action_space.sample, key)
        _, first = jax.eval_shape(env.reset_env, key, params)
        _, following, *_ = jax.eval_shape(env.step_env, key, first, action, params)
    for before, after in zip(jax.tree.leaves(first), jax.tree.leaves(following), strict=True):
        assert before.shape == after.shape
        assert np.can_cast(after.dtype, before.dtype, "same_kind")


def test_the_list_of_names_is_that_of_gymnax():
    import gymnax as library

    assert list(gymnax.NAMES) == list(library.registered_envs)


@pytest.mark.slow
def test_the_list_of_names_is_that_of_brax():
    import brax.envs as library

    from metarl.envs import brax

    assert set(brax.NAMES) == set(library._envs) - {"fast"}
