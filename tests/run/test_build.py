"""What a config becomes: refusals before anything starts, and programs of every layout."""

from dataclasses import asdict, replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from metarl.core.errors import ArtifactError, ConfigError
from metarl.networks.actor_critic import NetworkConfig
from metarl.problems.agent_settings import settings_for
from metarl.run.build import build

from .tiny import BANDIT, CATCH, TINY, build_once, with_loop


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"task": {"envs": ("gymnax/CartPol-v1",)}}, ConfigError, "mean 'gymnax/CartPole-v1'"),
        ({"evaluation": {"envs": ("CatchX-bsuite",)}}, ConfigError, f"Did you mean '{CATCH}'"),
        ({"evaluation": {"rules": ("poo",)}}, ConfigError, r"Unknown rule 'poo'.*mean 'ppo'"),
        ({"evaluation": {"rules": ("./no.safetensors",)}}, ArtifactError, "There is no artifact"),
        ({"evaluation": {"steps": 31}}, ConfigError, f"evaluation.steps=31 .* {BANDIT}: .* of 32"),
        ({"outer": {"optimizer": "SNE"}}, ConfigError, r"'SNE'.*Did you mean 'SNES'.*adam"),
        ({"outer": {"optimizer": "LES"}}, ConfigError, "LES cannot be used: its weights are"),
        ({"loop": {"devices": 3}}, ConfigError, "loop.devices=3, but this machine shows 2"),
        (
            {"learner": {"network": NetworkConfig(channels=(4,))}, "task": {"envs": (BANDIT,)}},
            ConfigError,
            "channels need image observations",
        ),
    ],
)
def test_refused_before_anything_starts(changes, error, message):
    sections = {name: replace(getattr(TINY, name), **entry) for name, entry in changes.items()}
    with pytest.raises(error, match=message):
        build(replace(TINY, **sections))


@pytest.mark.parametrize("learner", ["tuned", "same"])
def test_comparisons_know_what_evolution_has_seen(learner):
    breakout = "gymnax/Breakout-MinAtar"
    wanted = replace(TINY.evaluation, envs=(BANDIT, CATCH, breakout), learner=learner, steps=16_384)
    training = build(replace(TINY, evaluation=wanted))
    theta = training.theta_start()
    seen, *unseen = training.problem.comparisons
    assert (seen.name, seen.held_out) == (CATCH, False)
    assert seen.candidates(theta, theta)["learned"].settings == asdict(TINY.learner)
    # What evolution has seen is not held out, though it is named there.
    assert [entry.env.name for entry in unseen] == [BANDIT, breakout]
    for entry in unseen:
        settings = TINY.learner if learner == "same" else settings_for(entry.env.name)
        assert entry.held_out
        expected = asdict(replace(settings, total_steps=16_384))
        assert all(c.settings == expected for c in entry.candidates(theta, theta).values())


def test_horizons_are_comparisons_of_their_own():
    wanted = replace(TINY.evaluation, envs=(), horizons=(0.5, 1.0, 4.0))
    training = build(replace(TINY, evaluation=wanted))
    theta = training.theta_start()
    found = {}
    for entry in training.problem.comparisons:
        settings = entry.candidates(theta, theta)["learned"].settings
        found[entry.name] = (entry.held_out, settings["total_steps"])
    assert found == {
        CATCH: (False, 96),
        f"{CATCH} 0.5x": (True, 48),
        f"{CATCH} 4x": (True, 384),
    }


def test_there_are_no_more_devices_than_lifetimes():
    one = replace(TINY, es=replace(TINY.es, population=2), task=replace(TINY.task))
    assert build(one).layout.devices == 2
    alone = replace(one, es=replace(one.es, population=1, antithetic=False))
    assert build(alone).layout.devices == 1


def _first_generation(config):
    training = build_once(config)
    state = training.init(training.key)
    _, logs = training.advance(training.key, state, jnp.arange(1))
    return jax.device_get(logs)


@pytest.fixture(scope="module")
def expected():
    return _first_generation(TINY)  # two devices, all members at once


@pytest.mark.parametrize(
    ("devices", "chunk"),
    [
        (1, 2),
        (2, 1),
        (1, None),
        (1, 1),
        (2, 2),
    ],
)
@pytest.mark.slow
def test_another_layout_gives_the_same_lifetimes(expected, devices, chunk):
    """Fitness agrees to the rounding of a mean, in which rounding of the networks does not show.

    Every return of Catch is 1 or -1. Were a random number another one, some episode would end
    otherwise, and a mean over some ten episodes move by 0.2. Rounding moves the networks by less
    than 1e-4 (1e-7 a product, a dozen gradient steps with rate 0.05), which seldom flips one of
    the 400 actions. The gradient is made of fitness and of the same perturbations.
    """
    found = _first_generation(with_loop(devices=devices, chunk=chunk))
    assert np.unique(expected.losses).size > 1
    np.testing.assert_allclose(found.losses, expected.losses, rtol=1e-6)
    np.testing.assert_allclose(found.gradient_norm, expected.gradient_norm, rtol=1e-5)
    np.testing.assert_allclose(found.update_norm, expected.update_norm, rtol=1e-5)


def test_the_seed_decides_everything(expected):
    # Another seed has the same program, whose key is an argument.
    training = build_once(TINY)
    key = jax.random.key(1)
    _, logs = training.advance(key, training.init(key), jnp.arange(1))
    assert np.any(np.asarray(logs.losses) != expected.losses)
    _, logs = training.advance(training.key, training.init(training.key), jnp.arange(1))
    np.testing.assert_array_equal(logs.losses, expected.losses)


def test_a_state_from_the_disk_is_advanced_by_the_same_program():
    training = build_once(TINY)
    state = training.init(training.key)
    copy = jax.tree.map(np.array, jax.device_get(state))
    following, _ = training.advance(training.key, state, jnp.arange(1))
    training.advance(training.key, following, jnp.arange(1))
    programs = training.advance._cache_size()
    again, _ = training.advance(training.key, training.place(copy), jnp.arange(1))
    assert training.advance._cache_size() == programs
    del again
