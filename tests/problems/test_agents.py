"""Algorithms by name, and agents made of them: whose settings, and which programs are shared."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from metarl import envs, optimizers
from metarl.core.errors import ArtifactError, ConfigError
from metarl.evaluation.candidates import groups
from metarl.io.artifacts import save_artifact
from metarl.optimizers.open.open_network import OpenNetworkConfig, from_vector
from metarl.problems import agents as algorithms
from metarl.problems.agents import by_name, make_agents
from metarl.problems.algorithms import default_settings
from metarl.problems.drift.agents import DriftAlgorithm
from metarl.problems.optimizer.agents import OptimizerAlgorithm
from metarl.problems.update_rule.agents import BaselineAlgorithm, DiscoAlgorithm, RuleAlgorithm
from metarl.rules import LearnedDriftConfig, disco, lpg_registry, ppo
from metarl.rules import registry as drift_registry
from metarl.rules.disco.theta import from_published, published_shapes
from metarl.rules.lpg_network import LPGConfig, init_theta
from metarl.run.tuning import with_rate
from tests.cards import CARD
from tests.run.tiny import CATCH

DRIFT = LearnedDriftConfig(hidden=3)
LPG = LPGConfig(core="gru", width=4, categories=3, embedding=2)


@pytest.fixture(scope="module")
def catch():
    return envs.make(CATCH)


@pytest.fixture(scope="module")
def drift(tmp_path_factory):
    theta = {name: np.full(shape, 0.5, np.float32) for name, shape in DRIFT.shapes.items()}
    return drift_registry.save(
        tmp_path_factory.mktemp("drift") / "mine.safetensors", theta, DRIFT, CARD
    )


@pytest.fixture(scope="module")
def lpg(tmp_path_factory):
    """Path and weights."""
    theta = init_theta(LPG, jax.random.key(5))
    path = tmp_path_factory.mktemp("lpg") / "mine.safetensors"
    return lpg_registry.save(path, theta, LPG, CARD), theta


@pytest.fixture(scope="module")
def released_open(tmp_path_factory):
    path = tmp_path_factory.mktemp("open") / "theirs.npy"
    np.save(path, np.random.default_rng(0).normal(size=1211).astype(np.float32))
    return path


@pytest.fixture(scope="module")
def released_disco(tmp_path_factory):
    """A file of the real shapes, and its weights."""
    rng, config = np.random.default_rng(0), disco.DiscoConfig()
    shapes = published_shapes(config)
    arrays = {name: rng.random(shape, np.float32) - 0.5 for name, shape in shapes.items()}
    path = tmp_path_factory.mktemp("disco") / "theirs.npz"
    np.savez(path, **arrays)
    return path, from_published(config, arrays)


@pytest.mark.parametrize("name", drift_registry.HANDCRAFTED)
def test_handcrafted_drifts(name):
    found = by_name(name)
    assert isinstance(found, DriftAlgorithm)
    assert found.entry.rule.name == name
    assert found.entry.theta == ()


def test_a_hand_made_rule():
    found = by_name("a2c")
    assert isinstance(found, BaselineAlgorithm)
    assert found.rule.name == "a2c"


def test_a_learned_drift_by_its_path_and_by_its_name(drift, monkeypatch):
    monkeypatch.setattr(drift_registry, "_pretrained_paths", lambda: {"lpo_mine": drift})
    assert "lpo_mine" in algorithms.names()
    # The path may be that of the card.
    for name in (str(drift), str(drift.with_suffix(".json")), "lpo_mine"):
        found = by_name(name)
        assert isinstance(found, DriftAlgorithm)
        for array in found.entry.theta.values():
            np.testing.assert_array_equal(array, np.full(array.shape, 0.5))


def test_every_name_is_found():
    shipped = {*drift_registry.pretrained(), *lpg_registry.pretrained(), *optimizers.names()}
    assert {"ppo", "dpo", "mdpo", "none", "a2c"} | shipped == set(algorithms.names())
    for name in algorithms.names():
        by_name(name)


def test_a_learned_update_rule_by_its_path(lpg):
    path, theta = lpg
    found = by_name(str(path))
    assert isinstance(found, RuleAlgorithm)
    assert found.rule.outputs(2) == {"logits": (2,), "prediction": (3,)}
    jax.tree.map(np.testing.assert_array_equal, found.theta, theta)


def test_released_weights_of_an_optimizer(released_open):
    found = by_name(f"open:{released_open}")
    assert isinstance(found, OptimizerAlgorithm)
    expected = from_vector(OpenNetworkConfig(), jnp.asarray(np.load(released_open)))
    assert found.theta.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_array_equal(found.theta[name], array)


@pytest.mark.slow
def test_a_learned_optimizer_moves_ppo(catch, tmp_path):
    """For as many steps as PPO says, and told its loss, which this one insists on."""
    config = optimizers.VeLOConfig(hidden=3, networks=2)
    theta = optimizers.velo_init(config, jax.random.key(0))
    path = optimizers.save(tmp_path / "mine.safetensors", theta, config, CARD)
    found = by_name(str(path))
    assert isinstance(found, OptimizerAlgorithm)
    jax.tree.map(np.testing.assert_array_equal, found.theta, theta)
    candidate = found.agent(catch, default_settings(catch, 512))
    key, task = jax.random.key(0), catch.default_params

    def one_update(key):
        state = candidate.learner.init(key, candidate.theta, task)
        return candidate.learner.step(key, candidate.theta, task, state)

    state, _ = jax.eval_shape(one_update, key)
    before = jax.eval_shape(lambda key: candidate.learner.init(key, candidate.theta, task), key)
    assert jax.tree.structure(state) == jax.tree.structure(before)


def test_released_weights_of_an_update_rule(released_disco):
    path, theta = released_disco
    found = by_name(f"disco:{path}")
    assert isinstance(found, DiscoAlgorithm)
    jax.tree.map(np.testing.assert_array_equal, found.theta, theta)


@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        ("pop", ConfigError, r"Unknown rule 'pop'\. Did you mean 'ppo'\? Permitted: .*a2c"),
        ("ac2", ConfigError, r"Did you mean 'a2c'\?"),
        ("disko:x.npz", ConfigError, "Unknown rule 'disko:x.npz'.*open:PATH.*disco:PATH"),
        ("disco", ConfigError, "Unknown rule 'disco'.*disco:PATH"),
        ("mine.npy", ConfigError, "or the path of a .safetensors file"),
        ("no/such.safetensors", ArtifactError, "There is no artifact"),
        ("open:no/such.npy", ArtifactError, "No such file"),
        ("celo:no/such.msgpack", ArtifactError, r"no/such\.msgpack"),
        ("disco:no/such.npz", ArtifactError, r"no/such\.npz"),
    ],
)
def test_unknown_names_and_missing_files(name, error, message):
    with pytest.raises(error, match=message):
        by_name(name)


def test_files_of_another_kind(tmp_path, released_open, lpg):
    card = {**CARD, "kind": "picture"}
    path = save_artifact(tmp_path / "x.safetensors", {"a": np.zeros(2, np.float32)}, card)
    with pytest.raises(ArtifactError, match="'picture', not 'drift'"):
        by_name(str(path))
    with pytest.raises(ArtifactError, match=r"is not a \.npy file"):
        by_name(f"open:{lpg[0]}")
    with pytest.raises(ArtifactError, match="holds a single array"):
        by_name(f"disco:{released_open}")


def test_the_steps_of_a_life_are_those_asked_for(catch):
    long = default_settings(catch)
    short = default_settings(catch, 5120)
    assert short.learner == replace(long.learner, total_steps=5120)
    assert short.agent == replace(long.agent, updates=5120 // long.agent.batch_size)
    assert short.baseline.updates == short.agent.updates < long.baseline.updates
    # A handcrafted rule has a descent of its own.
    assert short.baseline.learning_rate != short.agent.learning_rate
    assert default_settings(catch, 512).agent.updates == 1  # never none at all
    with pytest.raises(ConfigError, match="total_steps=5 is less than one batch"):
        default_settings(catch, 5)


@pytest.fixture(scope="module")
def candidates(catch, drift, lpg, released_open, released_disco):
    """Settings and agents of every kind, in an order that mixes the kinds."""
    names = {
        "ppo": "ppo",
        "lpg": str(lpg[0]),
        "mine": str(drift),
        "a2c": "a2c",
        "open": f"open:{released_open}",
        "disco": f"disco:{released_disco[0]}",
        "dpo": "dpo",
    }
    found = {name: by_name(path) for name, path in names.items()}
    settings = default_settings(catch, 5120)
    return found, settings, make_agents(catch, found, dict.fromkeys(found, settings))


def test_each_kind_has_its_settings(candidates):
    found, settings, made = candidates
    assert list(made) == list(found)
    configs = {name: agent.learner.config for name, agent in made.items()}
    assert configs["ppo"] == configs["mine"] == configs["open"] == settings.learner
    assert configs["lpg"] == configs["disco"] == settings.agent
    assert configs["a2c"] == settings.baseline
    for name, agent in made.items():
        assert agent.updates == configs[name].updates
        assert agent.updates * agent.batch_size == 5120


def test_drifts_with_equal_settings_share_a_program_and_nobody_else_does(candidates):
    found, _, made = candidates
    shared = [list(group) for group in groups(made)]
    assert shared == [["ppo", "mine", "dpo"], ["lpg"], ["a2c"], ["open"], ["disco"]]
    # Each with its own drift.
    ratio, advantage = jnp.array([0.4, 1.9]), jnp.array([-1.0, 2.0])
    for name in shared[0]:
        agent, entry = made[name], found[name].entry
        drift = agent.learner.drift.apply(agent.theta, ratio, advantage, jnp.float32(0))
        expected = entry.rule.apply(entry.theta, ratio, advantage, jnp.float32(0))
        # The same formula within a branch of another program.
        np.testing.assert_allclose(drift, expected, rtol=1e-6)


def test_drifts_with_other_settings_share_no_program(catch):
    found = {name: by_name(name) for name in ("ppo", "dpo", "mdpo", "none")}
    one, other = (with_rate(default_settings(catch), rate) for rate in (1e-3, 1e-2))
    # Equal, though not the same object.
    again = with_rate(default_settings(catch), 1e-3)
    settings = {"ppo": one, "dpo": other, "mdpo": again, "none": other}
    made = make_agents(catch, found, settings)
    assert list(made) == list(found)
    assert [list(group) for group in groups(made)] == [["ppo", "mdpo"], ["dpo", "none"]]
    for name, agent in made.items():
        assert agent.learner.config == settings[name].learner
        assert agent.settings["learning_rate"] == settings[name].learner.learning_rate


def test_what_does_not_fit_an_environment_is_refused(lpg, released_disco):
    index = envs.make("grid/debug?observation=index")
    found = {"disco": by_name(f"disco:{released_disco[0]}")}
    with pytest.raises(ConfigError, match="disco needs observations that are arrays; grid/debug"):
        make_agents(index, found, dict.fromkeys(found, default_settings(index)))
    pendulum = envs.make("gymnax/Pendulum-v1")
    for name in (str(lpg[0]), "a2c", f"disco:{released_disco[0]}"):
        found = {name: by_name(name)}
        with pytest.raises(ConfigError, match="needs discrete actions; those of gymnax/Pendulum"):
            make_agents(pendulum, found, dict.fromkeys(found, default_settings(pendulum)))


def test_the_optimizer_goes_with_the_clip_of_ppo(candidates):
    """OPEN was made for PPO's objective: its agents have the drift of PPO."""
    _, _, made = candidates
    ratio, advantage = jnp.array([0.4, 1.9]), jnp.array([-1.0, 2.0])
    drift = made["open"].learner.drift.apply((), ratio, advantage, jnp.float32(0))
    np.testing.assert_array_equal(drift, ppo().apply((), ratio, advantage, jnp.float32(0)))
    assert np.all(drift > 0)
