"""Delayed chains against the rules written out, and their closed-form returns."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from metarl.core.errors import ConfigError
from metarl.envs import chains, make
from metarl.envs.chains import Chain, ChainDistribution, delayed_chain
from tests.quick_compilation import quick_jit

LENGTHS, EPISODES = (1, 2, 5), 3000


def chain(length, good_action=1, noise=0.0):
    return Chain(jnp.int32(length), jnp.int32(good_action), jnp.float32(noise))


@pytest.fixture(scope="module")
def played():
    """Many episodes of `max(LENGTHS)` steps under random actions, for every length and noise."""
    env = delayed_chain(ChainDistribution(longest=5, shortest=1, noise=1.0))
    params = [chain(n, n % 2, noise) for n in LENGTHS for noise in (0.0, 0.5)]
    stacked = jax.tree.map(lambda *x: jnp.stack(x), *params)

    def episode(key, params):
        key_reset, key_actions, key_steps = jax.random.split(key, 3)
        actions = jax.random.randint(key_actions, (5,), 0, 2)
        obs, state = env.reset(key_reset, params)

        def act(state, inputs):
            step = env.step(inputs[0], state, inputs[1], params)
            return step.state, (step.obs, step.reward, step.terminated, step.truncated)

        _, record = jax.lax.scan(act, state, (jax.random.split(key_steps, 5), actions))
        return obs, actions, record

    many = quick_jit(jax.vmap(jax.vmap(episode, (0, None)), (None, 0)))
    out = many(jax.random.split(jax.random.key(0), EPISODES), stacked)
    return params, jax.tree.map(np.asarray, out)


def test_the_first_action_decides_what_the_last_step_pays(played):
    params, (first_obs, actions, (obs, reward, terminated, truncated)) = played
    assert not truncated.any()
    for i, task in enumerate(params):
        length, noise = int(task.length), float(task.noise)
        good = actions[i, :, 0] == int(task.good_action)
        assert 0.4 < good.mean() < 0.6
        np.testing.assert_array_equal(reward[i, :, length - 1], np.where(good, 1.0, -1.0))
        np.testing.assert_array_equal(terminated[i, :, length - 1], True)
        np.testing.assert_array_equal(terminated[i, :, : length - 1], False)
        between = reward[i, :, : length - 1]
        assert np.all(between[:, :1] == 0)
        assert np.all(np.abs(between[:, 1:]) == noise)
        np.testing.assert_array_equal(first_obs[i], np.tile(np.eye(9)[0], (EPISODES, 1)))
        for t in range(length - 1):  # what is acted on
            expected = np.eye(9)[1 + 2 * t + good]
            np.testing.assert_array_equal(obs[i, :, t], expected)


def test_noise_says_nothing(played):
    """Its signs are as often plus as minus, whatever was done, and independent of each other."""
    params, (_, actions, (_, reward, _, _)) = played
    i = next(i for i, p in enumerate(params) if int(p.length) == 5 and float(p.noise) > 0)
    signs = reward[i, :, 1:4] > 0
    patterns = signs @ [1, 2, 4] + 8 * actions[i, :, 0]
    counts = np.bincount(patterns, minlength=16)
    assert stats.chisquare(counts).pvalue > 1e-3


def test_the_return_of_a_policy_has_a_closed_form(played):
    params, (_, actions, (_, reward, _, _)) = played
    for i, task in enumerate(params):
        returns = reward[i, :, : int(task.length)].sum(axis=1)
        good = actions[i, :, 0] == int(task.good_action)
        for chosen, probability in ((good, 1.0), (~good, 0.0), (good | True, 0.5)):
            sample = returns[chosen]
            error = sample.std() / np.sqrt(len(sample))
            expected = chains.policy_return(probability)
            assert abs(sample.mean() - expected) <= 4 * error + 1e-6
    assert chains.policy_return(1.0) == chains.OPTIMAL_RETURN
    assert make("chain/short").optimal_return(params[0]) == 1.0


def test_distracting_bits_hide_the_two_that_matter():
    env = make("chain/distractor")
    assert env.observation_space.shape == (22,)
    params = chain(7, good_action=0)

    @quick_jit
    @jax.vmap
    def two_steps(key):
        keys = jax.random.split(key, 4)
        obs, state = env.reset(keys[0], params)
        action = jax.random.randint(keys[1], (), 0, 2)
        one = env.step(keys[2], state, action, params)
        two = env.step(keys[3], one.state, 1 - action, params)
        return action, jnp.stack([obs, one.obs, two.obs])

    action, obs = (np.asarray(x) for x in two_steps(jax.random.split(jax.random.key(1), 4000)))
    np.testing.assert_array_equal(obs[..., 0], np.tile([1.0, 0.0, 0.0], (4000, 1)))
    np.testing.assert_array_equal(obs[:, 0, 1], 0)
    np.testing.assert_array_equal(obs[:, 1:, 1], np.stack([action == 0] * 2, axis=1))
    assert set(np.unique(obs)) == {0.0, 1.0}
    noise = obs[..., 2:]
    # Means of 4000 fair bits: five standard errors for sixty of them.
    assert np.all(np.abs(noise.mean(axis=0) - 0.5) < 5 * 0.5 / np.sqrt(4000))
    assert np.mean(noise[:, 0] == noise[:, 1]) == pytest.approx(0.5, abs=0.01)


def test_tasks_are_distributed_as_published():
    for name, longest in (("short_noisy", 30), ("long", 50)):
        levels = chains.variant(name)
        tasks = quick_jit(jax.vmap(levels.sample))(jax.random.split(jax.random.key(2), 5000))
        counts = np.bincount(tasks.length)[5:]
        assert len(counts) == longest - 4
        assert counts.sum() == 5000
        assert stats.chisquare(counts).pvalue > 1e-3
        assert stats.chisquare(np.bincount(tasks.good_action, minlength=2)).pvalue > 1e-3
        assert set(np.asarray(tasks.noise)) == {1.0 if name == "short_noisy" else 0.0}


def test_bad_settings_are_refused():
    with pytest.raises(ConfigError, match="longest"):
        ChainDistribution(longest=3)
    with pytest.raises(ConfigError, match="shortest"):
        ChainDistribution(longest=3, shortest=0)
    with pytest.raises(ConfigError, match="Did you mean 'long_noisy'"):
        chains.variant("long_noise")
