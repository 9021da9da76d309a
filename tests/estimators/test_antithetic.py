"""Antithetic truncated ES: what pairs share, resets of unrolls, divergence, and memory."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from metarl.core.contracts import Truncation
from metarl.core.errors import ConfigError
from metarl.core.mesh import Layout, make_mesh, on_mesh
from metarl.core.meta_loss import meta_loss_from_logs
from metarl.estimators.antithetic import AntitheticPair, AntitheticTruncatedESConfig
from metarl.estimators.noise_reuse_es import NoiseReuseES
from metarl.estimators.perturbations import perturbation
from metarl.estimators.pes import PES
from metarl.estimators.truncated_es import TruncatedES
from metarl.tasks.curricula import Uniform

from .antithetic_toys import ESTIMATORS, LogRate, Noisy, Recorder, Slope, last, make

THETA = {"rate": jnp.array([0.1, 0.2]), "bias": jnp.float32(0.5)}


def run_windows(estimator, theta, windows, devices=1):
    """Some outer steps at one theta, in one program: estimates `[windows, ...]`, states `[...]`."""

    def run(key):
        key_init, key_windows = jax.random.split(key)

        def window(state, key):
            found, state = estimator.estimate(key, theta, state)
            return state, (found, state)

        state = estimator.init(key_init, theta)
        return jax.lax.scan(window, state, jax.random.split(key_windows, windows))[1]

    return jax.device_get(on_mesh(run, make_mesh(devices))(jax.random.key(3)))


def noisy(kind, layout=None):
    """Five unrolls of two pairs each that finish after three windows."""
    return make(kind, Noisy(), 2, 5, layout=layout, num_parallel=5, pairs=2, sigma=0.1)


@jax.jit
def noise_of(keys, number):
    """Perturbation `number` of the pairs of all unrolls, from their keys `[N, M]`."""
    return jax.vmap(jax.vmap(lambda key: perturbation(key, THETA, number)))(keys)


@pytest.fixture(scope="module")
def plain():
    """Four windows of two estimators; PES runs on two devices and in chunks."""
    return {
        PES: run_windows(noisy(PES, Layout(2, chunk=5)), THETA, 4, devices=2),
        NoiseReuseES: run_windows(noisy(NoiseReuseES), THETA, 4),
    }


def test_first_windows_agree_whatever_the_layout(plain):
    """The two estimators differ only in earlier windows, and by rounding."""
    one, other = (jax.tree.map(lambda x: x[0], plain[kind][0]) for kind in (PES, NoiseReuseES))
    # Some ten roundings of losses of size ten.
    np.testing.assert_allclose(one.unroll_losses, other.unroll_losses, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(one.summary["first"], other.summary["first"], rtol=1e-5, atol=1e-5)
    # Differences of such losses over 2 sigma, times sums of noise.
    rates = [plain[kind][0].gradient["rate"] for kind in (PES, NoiseReuseES)]
    np.testing.assert_allclose(rates[0][0], rates[1][0], rtol=0, atol=1e-4)
    assert np.abs(rates[0][1] - rates[1][1]).max() > 1e-2


@pytest.mark.parametrize("kind", [PES, NoiseReuseES])
def test_losses_and_summaries_have_an_entry_for_each_member(plain, kind):
    found, _ = plain[kind]
    assert found.losses.shape == (4, 20)
    assert found.unroll_losses.shape == found.summary["first"].shape == (4, 1, 20)
    assert np.all(found.summary["first"] > 0)
    assert not np.any(found.diverged)


@pytest.mark.parametrize("kind", [PES, NoiseReuseES])
def test_unrolls_finish_at_the_first_window_end_after_their_lifetime(plain, kind):
    _, states = plain[kind]
    # Windows of 2 steps, lifetime 5: finished at age 6, then reset.
    np.testing.assert_array_equal(states.unrolls.age, np.array([[2, 4, 0, 2]]).T.repeat(5, axis=1))
    np.testing.assert_array_equal(states.unrolls.task[1], [1, 2, 3, 4, 5])
    np.testing.assert_array_equal(states.unrolls.task[2], [6, 7, 8, 9, 10])


def test_pairs_of_an_unroll_differ_only_in_noise():
    """The loss depends only on task and key: equal within an unroll, different between unrolls."""

    class Shown:
        def init(self, key, theta, task):
            return jax.random.uniform(key)

        def step(self, key, theta, task, state):
            return state, state + jax.random.uniform(key) + task

    found, state = jax.tree.map(
        lambda x: x[0], run_windows(make(PES, Shown(), 2, 5, num_parallel=3, pairs=2), THETA, 1)
    )
    losses = found.losses.reshape(3, 4)
    np.testing.assert_array_equal(losses, losses[:, :1].repeat(4, axis=1))
    assert len(np.unique(losses)) == 3
    assert all(np.all(leaf == 0) for leaf in jax.tree.leaves(found.gradient))
    noise = state.unrolls.state.accumulated["rate"].reshape(6, 2)
    assert len(np.unique(noise)) == 12


def test_learners_start_under_the_thetas_of_their_members(key):
    found = make(PES, Noisy(start=1.0), 2, 5, num_parallel=3, pairs=2, sigma=0.1)
    state = jax.jit(lambda key: found.init(key, THETA))(key)
    pairs = state.unrolls.state
    noise = noise_of(pairs.noise, 0)["bias"]
    # Both draw the same x; rounding of numbers of size one.
    gap = pairs.states["x"][..., 0] - pairs.states["x"][..., 1]
    np.testing.assert_allclose(gap, 2 * 0.1 * noise, rtol=0, atol=1e-6)
    middle = pairs.states["x"].mean(axis=-1)
    np.testing.assert_allclose(middle[:, 0], middle[:, 1], rtol=0, atol=1e-6)
    assert len(np.unique(np.round(middle, 4))) == 3


def test_noise_is_recomputed_from_keys_and_accumulated(plain):
    """PES accumulates the noise of all windows so far; the others accumulate none."""
    _, states = plain[PES]
    keys = states.unrolls.state.noise[1]  # after two windows
    drawn = sum(noise_of(keys, number)["rate"] for number in range(2))
    np.testing.assert_allclose(states.unrolls.state.accumulated["rate"][1], drawn, atol=1e-6)
    np.testing.assert_array_equal(states.unrolls.state.accumulated["rate"][2], 0)  # new unrolls
    assert plain[NoiseReuseES][1].unrolls.state.accumulated == ()


class Fragile:
    """`Noisy`, but not finite above a limit of the rate, and broken from then on."""

    def __init__(self, limit):
        self.limit = limit

    def init(self, key, theta, task):
        return jnp.float32(1)

    def step(self, key, theta, task, state):
        state = jnp.where(theta["rate"][0] > self.limit[jnp.int32(task)], jnp.nan, state)
        return state, state * (theta["rate"][0] + theta["bias"])


def test_diverged_pairs_have_zero_gradient_and_differences_are_clipped():
    """On task 2 every member diverges, on task 4 those with the larger rate, on task 5 few.

    An unroll continues while one of its pairs is healthy. Differences are clipped at one sigma's.
    """
    rate, pairs = THETA["rate"][0], 16
    limits = jnp.full(100, jnp.inf).at[jnp.array([2, 4, 5])].set([-jnp.inf, rate, rate + 0.005])
    scored = {"score": lambda key, theta, task, state: task}
    found = make(PES, Fragile(limits), 1, 9, num_parallel=5, pairs=pairs, clip=0.02, **scored)
    estimate, state = jax.tree.map(lambda x: x[0], run_windows(found, THETA, 1))
    assert np.isfinite(estimate.losses).all()
    np.testing.assert_array_equal(state.unrolls.task, [1, 6, 3, 7, 5])
    np.testing.assert_array_equal(state.unrolls.age, [1, 0, 1, 0, 1])
    np.testing.assert_array_equal(np.isnan(state.curriculum["scores"]).nonzero()[0], [2, 4])
    # Unrolls 1, 3 and 5 remain, the last without the pairs that moved a rate by half a sigma.
    noise = jax.tree.map(lambda x: np.float64(x[::2]), noise_of(state.unrolls.state.noise, 0))
    first = noise["rate"][..., 0]
    healthy = (np.abs(first) <= 0.5) | (np.arange(3)[:, None] < 2)
    assert 0 < np.sum(~healthy) < pairs
    assert estimate.diverged == 2 * pairs + pairs + np.sum(~healthy)
    # On the loss rate_0 + bias a pair gives eps (eps_rate_0 + eps_bias).
    worth = healthy * np.clip(first + noise["bias"], -1, 1)
    expected = np.sum(worth[..., None] * noise["rate"], axis=(0, 1)) / (5 * pairs)
    # Differences of losses of size one, over 2 sigma = 0.02.
    np.testing.assert_allclose(estimate.gradient["rate"], expected, rtol=0, atol=1e-4)


def test_signs_count_whatever_the_size_and_not_of_pairs_that_diverged():
    found = make(PES, LogRate(), 1, 1, sigma=0.25, sign=True)
    losses = jnp.array([[30.0, 1.0], [1.0, 1.5], [2.0, 2.0], [jnp.nan, 1.0], [1.0, jnp.inf]])
    np.testing.assert_array_equal(jax.jit(found._weights)(losses), [2, -2, 0, 0, 0])


def test_low_precision_theta_has_a_gradient_in_float32():
    theta = jnp.zeros(4, jnp.bfloat16)
    found = make(PES, Slope(jnp.ones(4, jnp.bfloat16)), 1, 3, sigma=1.0)

    def window(key):
        return found.estimate(key, theta, found.init(key, theta))

    estimate, state = jax.eval_shape(window, jax.random.key(0))
    assert estimate.gradient.dtype == jnp.float32
    assert state.unrolls.state.accumulated.dtype == jnp.float32


@pytest.mark.parametrize("kind", ESTIMATORS)
def test_memory_of_the_state(kind):
    """One or two states per pair and, for PES, one theta; independent of the lifetime."""
    theta = {"w": jnp.zeros((7, 3))}

    class Plain:
        def init(self, key, theta, task):
            return jnp.zeros(11)

        def step(self, key, theta, task, state):
            return state, jnp.float32(0)

    def size(lifetime):
        found = make(kind, Plain(), 2, lifetime, num_parallel=3, pairs=2)
        state = jax.eval_shape(lambda key: found.init(key, theta), jax.random.key(0))
        return sum(x.size for x in jax.tree.leaves(state.unrolls.state) if x.dtype == jnp.float32)

    expected = {TruncatedES: 6 * 11, PES: 6 * (2 * 11 + 21), NoiseReuseES: 6 * 2 * 11}
    assert size(10) == size(10**6) == expected[kind]


def test_memory_of_a_window_does_not_grow_with_its_length():
    """Compiled memory; under backpropagation it grows, since every state is stored."""

    class Wide:
        def init(self, key, theta, task):
            return jnp.ones(1000)

        def step(self, key, theta, task, state):
            state = jnp.tanh(theta * state)
            return state, jnp.mean(state)

    def used(length):
        truncation = Truncation(
            Wide(), length, lambda task: jnp.int32(99), meta_loss_from_logs(last)
        )
        found = PES(AntitheticTruncatedESConfig(num_parallel=4), truncation, Recorder())
        theta = jnp.float32(0.9)
        state = jax.eval_shape(lambda key: found.init(key, theta), jax.random.key(0))
        program = jax.jit(lambda key, state: found.estimate(key, theta, state)[0].gradient)
        lowered = program.lower(jax.random.key(0), state)
        return lowered.compile().memory_analysis().temp_size_in_bytes

    # Logs and keys grow, by some words a step; states are 1000 numbers.
    assert used(64) < 1.2 * used(8)


def test_the_curriculum_gets_a_report_at_every_outer_step(plain):
    np.testing.assert_array_equal(plain[PES][1].curriculum["calls"], [1, 2, 3, 4])


def test_first_ends_are_spread():
    class Tasks:
        def sample(self, key):
            return jnp.float32(0)

    found = make(PES, LogRate(), 2, 7, Uniform(Tasks()), num_parallel=200, stagger=True)
    ends = jax.jit(lambda key: found.init(key, jnp.float32(-1)).unrolls.end)(jax.random.key(0))
    ends = np.asarray(ends)
    assert set(ends) == set(range(1, 8))
    # Uniform: four standard errors of the mean of 200.
    assert abs(ends.mean() - 4) < 4 * np.sqrt((7**2 - 1) / 12 / 200)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"num_parallel": 0}, "num_parallel must be positive"),
        ({"pairs": 0}, "pairs must be positive"),
        ({"sigma": -1.0}, "sigma must be positive"),
        ({"clip": 0.0}, "clip must be positive"),
        ({"clip": 1.0, "sign": True}, "no effect where sign=True"),
        ({"score_chunk": 0}, "score_chunk must be positive"),
    ],
)
def test_bad_settings_are_refused(bad, message):
    with pytest.raises(ConfigError, match=message):
        AntitheticTruncatedESConfig(**bad)


def test_theta_that_cannot_be_perturbed_is_refused(key):
    with pytest.raises(ConfigError, match=r"theta\['steps'\] has dtype int32"):
        make(PES, LogRate(), 1, 1).init(key, {"rate": jnp.float32(0), "steps": jnp.int32(3)})


def test_the_score_is_of_the_positive_member_of_the_first_pair(key):
    """Of states `[pairs, 2]` that are all different; no program is compiled for it."""
    found = make(PES, Slope(jnp.ones(1)), 1, 1, pairs=3)
    pairs = AntitheticPair(key, (), {"x": np.arange(6).reshape(3, 2)})
    assert found._unroll_batch.scored_state(pairs) == {"x": 0}
