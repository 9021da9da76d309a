"""Wrappers against NumPy loops in float64, on an environment simple enough to repeat."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from metarl.core.errors import ConfigError
from metarl.envs import Box, Discrete, wrappers
from tests.envs.toys import counter, run

STEPS, BATCH, GAMMA = 40, 3, 0.9
# A float32 running mean or variance makes one rounding a merge: STEPS of them.
ROUNDING = STEPS * np.finfo(np.float32).eps


def actions(*batch):
    return jax.random.normal(jax.random.key(1), (STEPS, *batch, 1))


def layout(batched):
    """The usual stack up to autoreset, and actions for it."""
    env = wrappers.autoreset(wrappers.episode_statistics(counter()))
    if batched:
        return wrappers.vectorize(env, BATCH), actions(BATCH)
    return env, actions()


@pytest.mark.parametrize("predraw", [True, False])
def test_autoreset_keeps_the_final_observation_and_starts_anew(key, predraw):
    _, step = run(wrappers.autoreset(counter(last=3), predraw), key, actions())
    ends = np.arange(1, STEPS + 1) % 3 == 0
    np.testing.assert_array_equal(step.terminated, ends)
    np.testing.assert_array_equal(step.truncated, False)
    count, final = step.obs[:, 0], step.info["final_obs"][:, 0]
    np.testing.assert_array_equal(final[~ends], count[~ends])
    np.testing.assert_array_equal(final[ends] % 100, 3)
    np.testing.assert_array_equal(count[ends] % 100, 0)
    np.testing.assert_array_equal(step.info["own"], np.arange(STEPS) % 3 + 1)
    assert len(np.unique(count[ends])) > 5  # another episode is another draw


def test_predrawing_gives_the_same_episodes(key):
    early = run(wrappers.autoreset(counter(), predraw=True), key, actions())
    late = run(wrappers.autoreset(counter(), predraw=False), key, actions())
    jax.tree.map(np.testing.assert_array_equal, early, late)


def test_autoreset_and_vectorize_commute_in_what_they_do(key):
    inside, steps = layout(batched=True)
    outside = wrappers.autoreset(wrappers.episode_statistics(wrappers.vectorize(counter(), BATCH)))
    assert inside.batch_shape == outside.batch_shape == (BATCH,)
    for env in (inside, outside):
        obs, step = run(env, key, steps)
        assert obs.shape == (BATCH, 2)
        assert step.obs.shape == (STEPS, BATCH, 2)
        np.testing.assert_array_equal(step.reward, steps[..., 0])
        np.testing.assert_array_equal(
            step.info["episode_length"], np.tile(np.arange(STEPS)[:, None] % 3 + 1, BATCH)
        )
        assert len(np.unique(step.obs[2, :, 0])) == BATCH  # copies are independent


@pytest.mark.parametrize("outside", [False, True])
def test_episode_statistics_are_those_of_a_loop(key, outside):
    order = [wrappers.episode_statistics, wrappers.autoreset]
    env = counter(last=3)
    for wrapper in reversed(order) if outside else order:
        env = wrapper(env)
    _, step = run(env, key, actions())
    total, length = 0.0, 0
    for t, reward in enumerate(np.asarray(actions(), np.float64)[:, 0]):
        total, length = total + reward, length + 1
        # A float32 sum of at most STEPS rewards of size one.
        np.testing.assert_allclose(step.info["episode_return"][t], total, rtol=1e-6, atol=1e-6)
        assert step.info["episode_length"][t] == length
        if length == 3:
            total, length = 0.0, 0


def test_time_limit_truncates_unless_the_step_terminates(key):
    for limit, terminated_at, truncated_at in ((2, 0, 2), (3, 3, 0), (5, 3, 0)):
        env = wrappers.autoreset(wrappers.time_limit(counter(last=3), limit))
        _, step = run(env, key, actions())
        time = np.arange(STEPS) % min(limit, 3) + 1
        np.testing.assert_array_equal(step.terminated, time == terminated_at)
        np.testing.assert_array_equal(step.truncated, time == truncated_at)


def test_time_limit_keeps_the_truncation_of_the_environment(key):
    env = wrappers.autoreset(wrappers.time_limit(counter(last=3, terminates=False), 7))
    _, step = run(env, key, actions())
    np.testing.assert_array_equal(step.truncated, np.arange(1, STEPS + 1) % 3 == 0)
    assert not step.terminated.any()


def test_time_limit_of_a_batch_that_was_not_reset_together(key):
    env = wrappers.autoreset(wrappers.time_limit(wrappers.vectorize(counter(99), BATCH), 4))
    _, state = env.reset(key, env.default_params)
    state = state._replace(time=jnp.array([0, 1, 2], jnp.int32))
    ends = []
    for action in actions(BATCH)[:4]:
        step = env.step(key, state, action, env.default_params)
        state = step.state
        ends.append(step.truncated)
    np.testing.assert_array_equal(np.stack(ends).T, np.eye(4, dtype=bool)[[3, 2, 1]])


@pytest.mark.parametrize("batched", [False, True])
def test_observation_moments_are_those_of_all_the_data_seen(key, batched):
    raw, steps = layout(batched)
    env = wrappers.normalize_observation(raw, clip=2.0)
    first, step = run(env, key, steps)
    raw_first, raw_step = run(raw, key, steps)
    seen = np.concatenate([np.asarray(raw_first, np.float64)[None], raw_step.obs])
    final = np.asarray(raw_step.info["final_obs"], np.float64)
    moments = step.state.moments
    for t in range(STEPS):
        data = seen[: t + 2].reshape(-1, 2)
        mean, std = data.mean(0), data.std(0)
        np.testing.assert_allclose(moments.mean[t], mean, rtol=ROUNDING, atol=ROUNDING * std.max())
        # The mean is kept to an ulp of 10^4 (1e-3), which is the error of a deviation of size one.
        np.testing.assert_allclose(moments.var[t], std**2, rtol=ROUNDING, atol=1e-3)
        assert moments.count[t] == len(data)
        if t < 10:
            continue  # a spread of a few counts on top of thousands: nothing left in float32
        # Normalising subtracts two numbers of up to 5000 and divides by the spread.
        atol = 4 * 5000 * np.finfo(np.float32).eps / std.min() + STEPS * ROUNDING
        expected = np.clip((seen[t + 1] - mean) / std, -2, 2)
        np.testing.assert_allclose(step.obs[t], expected, atol=atol)
        expected_final = np.clip((final[t] - mean) / std, -2, 2)
        np.testing.assert_allclose(step.info["final_obs"][t], expected_final, atol=atol)
    assert np.abs(step.obs).max() == 2.0
    assert first.shape == seen[0].shape


def test_merged_batches_of_an_offset_stream_keep_their_variance():
    data = 1000.0 + np.random.default_rng(0).normal(size=(500, 4))
    moments = wrappers.initial_moments(())
    merge = jax.jit(wrappers.merge_batch, static_argnums=2)
    for batch in data:
        moments = merge(moments, jnp.asarray(batch, jnp.float32), (4,))
    rounded = data.astype(np.float32).astype(np.float64)
    # The mean is kept to a few ulps.
    np.testing.assert_allclose(moments.mean, rounded.mean(), rtol=1e-6)
    # The mean is kept to an ulp of 1000 (6e-5), which is the error of a deviation of size one.
    np.testing.assert_allclose(moments.var, rounded.var(), rtol=1e-3)
    assert moments.count == 2000


@pytest.mark.parametrize("batched", [False, True])
def test_frozen_moments_do_not_move(key, batched):
    initial = wrappers.Moments(jnp.array([1.0, -2.0]), jnp.array([4.0, 9.0]), jnp.float32(7))
    scalar = wrappers.Moments(jnp.float32(5.0), jnp.float32(16.0), jnp.float32(3))
    raw, steps = layout(batched)

    @jax.jit
    def evaluate(initial, scalar):  # traced: a learner passes the moments it has now
        env = wrappers.normalize_observation(raw, initial, update=False, clip=1e9)
        return run(wrappers.normalize_reward(env, GAMMA, scalar, update=False), key, steps)

    first, step = evaluate(initial, scalar)
    raw_first, raw_step = run(raw, key, steps)
    last = jax.tree.map(lambda x: x[-1], step.state)
    jax.tree.map(np.testing.assert_array_equal, last.inner.moments, initial)
    jax.tree.map(np.testing.assert_array_equal, last.moments, scalar)
    for got, plain in ((first, raw_first), (step.obs, raw_step.obs)):
        expected = (np.asarray(plain, np.float64) - [1.0, -2.0]) / [2.0, 3.0]
        # A difference and a quotient, rounded, beside an epsilon of 1e-8 under the root.
        np.testing.assert_allclose(got, expected, rtol=1e-6)
    np.testing.assert_allclose(step.reward, raw_step.reward / 4.0, rtol=1e-6)


@pytest.mark.parametrize("batched", [False, True])
@pytest.mark.parametrize("terminates", [False, True])
@pytest.mark.sampled(1)
def test_normalised_rewards_are_those_of_a_loop(key, batched, terminates):
    env = wrappers.autoreset(counter(last=4, terminates=terminates))
    env = wrappers.vectorize(env, BATCH) if batched else env
    steps = actions(BATCH) if batched else actions()
    _, step = run(wrappers.normalize_reward(env, GAMMA, clip=3.0), key, steps)
    rewards = np.asarray(steps, np.float64)[..., 0]
    running, seen = np.zeros_like(rewards[0]), []
    for t, reward in enumerate(rewards):
        running = GAMMA * running + reward
        seen.append(running)
        if len(np.ravel(seen)) > 1:  # one number has no spread
            expected = np.clip(reward / np.sqrt(np.var(seen) + 1e-8), -3, 3)
            # Differences of numbers of size one, STEPS roundings, divided by a spread above 0.05.
            np.testing.assert_allclose(step.reward[t], expected, rtol=20 * ROUNDING, atol=1e-6)
        if (t + 1) % 4 == 0:
            running = np.zeros_like(running)
    moments = step.state.moments
    np.testing.assert_allclose(moments.mean[-1], np.mean(seen), atol=ROUNDING)
    np.testing.assert_allclose(moments.var[-1], np.var(seen), rtol=ROUNDING)


def test_moments_continue_from_those_of_another_run(key):
    env, steps = layout(batched=True)
    env = wrappers.normalize_reward(wrappers.normalize_observation(env), GAMMA)
    _, step = run(env, key, steps)
    state = jax.tree.map(lambda x: x[-1], step.state)
    assert state.inner.moments.count == BATCH * (STEPS + 1)
    assert state.moments.count == BATCH * STEPS
    resumed = wrappers.normalize_observation(counter(), initial=state.inner.moments)
    _, state = resumed.reset(key, resumed.default_params)
    assert state.moments.count == BATCH * (STEPS + 1) + 1


def test_rescaled_actions_fill_the_box(key):
    env = wrappers.rescale_action(counter())
    assert env.action_space == Box(-1.0, 1.0, (1,))
    _, state = env.reset(key, env.default_params)
    for action, own in ((-1.0, -3.0), (0.0, 1.0), (0.5, 3.0), (1.0, 5.0), (-9.0, -3.0), (9.0, 5.0)):
        step = env.step(key, state, jnp.array([action]), env.default_params)
        assert step.reward == own  # the toy rewards the action that reaches it


def test_the_full_stack_keeps_the_type_of_its_state(key):
    env = wrappers.rescale_action(counter())
    env = wrappers.autoreset(wrappers.episode_statistics(wrappers.time_limit(env, 2)))
    env = wrappers.normalize_observation(wrappers.vectorize(env, BATCH))
    env = wrappers.normalize_reward(env, GAMMA)
    _, state = jax.eval_shape(env.reset, key, env.default_params)
    action = jax.ShapeDtypeStruct((BATCH, 1), jnp.float32)
    step = jax.eval_shape(env.step, key, state, action, env.default_params)
    assert jax.tree.structure(step.state) == jax.tree.structure(state)
    for before, after in zip(jax.tree.leaves(state), jax.tree.leaves(step.state), strict=True):
        assert (before.shape, before.dtype) == (after.shape, after.dtype)
        assert not before.weak_type
        assert not after.weak_type
    assert set(step.info) == {"own", "episode_return", "episode_length", "final_obs"}


@pytest.mark.parametrize(
    ("wrap", "message"),
    [
        (lambda env: wrappers.time_limit(env, 0), "max_steps must be positive"),
        (lambda env: wrappers.time_limit(env, -5), "-5"),
        (lambda env: wrappers.vectorize(env, 0), "num_envs must be positive"),
        (lambda env: wrappers.normalize_observation(env, clip=0.0), "clip must be positive"),
        (lambda env: wrappers.normalize_reward(env, gamma=1.5), "gamma must lie in"),
        (lambda env: wrappers.rescale_action(env.replace(action_space=Discrete(2))), "Discrete"),
        (
            lambda env: wrappers.rescale_action(env.replace(action_space=Box(-1, np.inf, (1,)))),
            "bounded",
        ),
    ],
)
def test_bad_settings_are_refused(wrap, message):
    with pytest.raises(ConfigError, match=message):
        wrap(counter())
