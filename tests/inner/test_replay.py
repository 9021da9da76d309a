import collections

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from metarl.core.errors import ConfigError
from metarl.inner.replay import add_trajectories, init_replay, sample_trajectories

T, B, CAPACITY = 3, 2, 5


def numbered(first):
    """B trajectories, each filled with its own number."""
    number = jnp.arange(first, first + B, dtype=jnp.float32)
    reward = jnp.broadcast_to(number[None], (T, B))
    return {"reward": reward, "obs": jnp.broadcast_to(reward[..., None], (T, B, 4))}


def filled(additions):
    replay = init_replay(jax.eval_shape(lambda: numbered(0)), CAPACITY)
    add = jax.jit(add_trajectories)
    for i in range(additions):
        replay = add(replay, numbered(B * i))
    return replay


@pytest.mark.parametrize("additions", [0, 1, 2, 3, 4, 8, 20])
def test_keeps_the_latest(additions):
    reference = collections.deque(maxlen=CAPACITY)
    reference.extend(range(B * additions))
    replay = filled(additions)
    assert int(replay.size) == len(reference)
    kept = np.asarray(replay.stored["reward"])[: len(reference), 0]
    assert sorted(kept) == sorted(reference)
    assert replay.stored["obs"].shape == (CAPACITY, T, 4)


def test_samples_whole_trajectories_of_what_is_there(key):
    batch = sample_trajectories(key, filled(2), 1000)
    assert batch["reward"].shape == (T, 1000)
    assert batch["obs"].shape == (T, 1000, 4)
    np.testing.assert_array_equal(batch["obs"][..., 2], batch["reward"])
    assert np.all(batch["reward"] == batch["reward"][:1])
    counts = np.bincount(np.asarray(batch["reward"][0]).astype(int), minlength=4)
    assert len(counts) == 4
    # Four equal shares of 1000: a standard deviation of 13.7 each.
    assert np.all(np.abs(counts - 250) < 5 * 13.7)


def test_time_is_not_mixed_up(key):
    times = jnp.broadcast_to(jnp.arange(T)[:, None], (T, B))
    replay = add_trajectories(init_replay(times, CAPACITY), times)
    np.testing.assert_array_equal(
        sample_trajectories(key, replay, 3), np.broadcast_to(np.arange(T)[:, None], (T, 3))
    )


def test_too_small_a_ring_is_refused():
    with pytest.raises(ConfigError, match="at least the 2"):
        init_replay(numbered(0), 1)
    with pytest.raises(ConfigError):
        init_replay(numbered(0), 0)
