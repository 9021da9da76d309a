"""Learned optimizers on disk: to the bit, or refused with the reason."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from metarl import optimizers, rules
from metarl.core.errors import ArtifactError, ConfigError
from metarl.optimizers import ARCHITECTURES, artifacts
from metarl.optimizers.parameters import describe
from tests.cards import CARD

CONFIG = optimizers.MLPLoptConfig(hidden=3)
PARAMS = {"w": jnp.ones((2, 2)), "b": jnp.ones(2)}


@pytest.fixture
def theta(key):
    return optimizers.mlp_lopt_init(CONFIG, key)


@pytest.fixture
def saved(tmp_path, theta):
    return optimizers.save(tmp_path / "tiny", theta, CONFIG, CARD)


def first_update(tx):
    return jax.jit(lambda: tx.update(PARAMS, tx.init(PARAMS), PARAMS, value=1.0)[0])()


def test_saved_weights_are_an_optax_transformation(saved, theta):
    loaded = optimizers.read(saved)
    assert (loaded.name, loaded.config, loaded.mup) == ("tiny", CONFIG, False)
    jax.tree.map(np.testing.assert_array_equal, loaded.theta, theta)
    got = first_update(optimizers.load(saved, num_steps=10, implementation="reference"))
    expected = first_update(optimizers.mlp_lopt(theta, CONFIG))
    jax.tree.map(np.testing.assert_array_equal, got, expected)


def test_saved_weights_are_an_inner_optimizer(saved, theta, key):
    optimizer = optimizers.inner(str(saved))
    assert optimizer.name == "tiny"
    start = optimizer.init(key)
    assert all(isinstance(x, jax.Array) for x in jax.tree.leaves(start))
    jax.tree.map(np.testing.assert_array_equal, start, theta)
    got = first_update(optimizer.transformation(start, describe(PARAMS), 10))
    expected = first_update(optimizers.mlp_lopt(theta, CONFIG))
    jax.tree.map(np.testing.assert_array_equal, got, expected)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_architecture_comes_back(name, tmp_path, key):
    architecture = ARCHITECTURES[name]
    config = architecture.config()
    shapes = jax.eval_shape(lambda key: architecture.init(config, key), key)
    rng = np.random.default_rng(0)
    theta = jax.tree.map(lambda x: np.float32(rng.normal(size=x.shape)), shapes)
    path = optimizers.save(tmp_path / name, theta, config, {**CARD, "name": name})
    loaded = optimizers.read(path)
    assert loaded.config == config
    assert loaded.architecture is architecture
    assert jax.tree.structure(loaded.theta) == jax.tree.structure(theta)
    jax.tree.map(np.testing.assert_array_equal, loaded.theta, theta)
    assert optimizers.inner(path).name == name


def test_maximal_update_weights_ask_for_multipliers(tmp_path, theta):
    path = optimizers.save(tmp_path / "mu", theta, CONFIG, CARD, mup=True)
    with pytest.raises(ConfigError, match=r"pass the multipliers.*fan_in_multipliers"):
        optimizers.load(path)
    multipliers = optimizers.fan_in_multipliers(PARAMS, ("w",))
    got = first_update(optimizers.load(path, multipliers=multipliers))
    plain = first_update(optimizers.mlp_lopt(theta, CONFIG))
    np.testing.assert_array_equal(got["w"], plain["w"] / 2)
    np.testing.assert_array_equal(got["b"], plain["b"])
    assert optimizers.read(path).inner.transformation(theta, describe(PARAMS), 1)


def test_names_are_those_of_pretrained_weights(saved, monkeypatch):
    assert optimizers.names() == sorted(artifacts._pretrained())
    for name in optimizers.names():
        assert optimizers.inner(name).name
    monkeypatch.setattr(artifacts, "_pretrained", lambda: {"mlp-small": saved})
    assert optimizers.names() == ["mlp-small"]
    assert optimizers.read("mlp-small").name == "tiny"
    with pytest.raises(ArtifactError, match=r"'mlp-smal'. Did you mean 'mlp-small'"):
        optimizers.load("mlp-smal")


def test_what_an_architecture_needs_it_asks_for(tmp_path, key):
    config = optimizers.CeloAdamConfig(hidden=2)
    theta = optimizers.celo_adam_init(config, key)
    path = optimizers.save(tmp_path / "celo", theta, config, CARD)
    with pytest.raises(ConfigError, match="num_steps"):
        optimizers.load(path)


def test_an_assumed_number_of_steps_is_kept(tmp_path, key):
    """With `num_steps` 7 or None, updates are those of an optimizer with 40."""

    @jax.jit
    def second_update(num_steps):
        return after_one(optimizers.celo_adam(theta, config, num_steps))

    def after_one(tx):  # by then it matters what share of training has passed
        _, state = tx.update(PARAMS, tx.init(PARAMS), PARAMS, value=1.0)
        return tx.update(PARAMS, state, PARAMS, value=1.0)[0]["w"]

    config = optimizers.CeloAdamConfig(hidden=2)
    theta = jax.tree.map(lambda x: x + 0.5, optimizers.celo_adam_init(config, key))
    path = optimizers.save(tmp_path / "celo", theta, config, CARD, assumed_steps=40)
    loaded = optimizers.read(path)
    assert loaded.assumed_steps == 40
    expected = second_update(40)
    assert abs(expected[0, 0] / second_update(7)[0, 0] - 1) > 1e-3
    for tx in (
        optimizers.load(path),
        optimizers.load(path, num_steps=7),
        loaded.inner.transformation(theta, describe(PARAMS), 7),
    ):
        # The number is a constant here and an argument there: equal to rounding.
        np.testing.assert_allclose(jax.jit(after_one, static_argnums=0)(tx), expected, rtol=1e-5)


def test_open_is_an_inner_optimizer_too(tmp_path):
    path = tmp_path / "mine.npy"
    np.save(path, np.zeros(1211, np.float32))
    assert optimizers.inner(path).name == "open-mine"


def test_another_kind_is_refused(saved):
    with pytest.raises(ArtifactError, match="holds 'learned_optimizer', not 'drift'"):
        rules.load(saved)


def edit_card(path, **changes):
    card_path = path.with_suffix(".json")
    card = json.loads(card_path.read_text())
    card_path.write_text(json.dumps({**card, **changes}))


def described(name="mlp_lopt", **config):
    return {"architecture": {"name": name, "config": config, "mup": False}}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kind": "drift"}, "not 'learned_optimizer'"),
        ({"architecture": "mlp"}, "its name must be one of adafac_mlp_lopt"),
        (described("mlp"), "its name must be one of adafac_mlp_lopt"),
        (described("mlp_lopt", width=3), "Permitted fields: depth, exp_mult, hidden"),
        (described("mlp_lopt", hidden=-3), "not valid: hidden must be positive"),
        (described("mlp_lopt", hidden=4), "its architecture requires"),
        (described("adafac_mlp_lopt", hidden=3), "its architecture requires"),
        (
            {"architecture": {"name": "mlp_lopt", "config": {"hidden": 3}, "assumed_steps": 0}},
            "assumed_steps is 0, not a number of steps",
        ),
    ],
)
def test_weights_of_another_architecture_are_refused(saved, changes, message):
    edit_card(saved, **changes)
    with pytest.raises(ArtifactError, match=message):
        optimizers.load(saved)


def test_truncated_weights_are_refused(saved):
    saved.write_bytes(saved.read_bytes()[:-8])
    with pytest.raises(ArtifactError, match="altered or truncated"):
        optimizers.load(saved)


def test_missing_files_are_refused(saved, tmp_path):
    with pytest.raises(ArtifactError, match=r"Did you mean 'tiny\.safetensors'"):
        optimizers.load(tmp_path / "tinny.safetensors")


@pytest.mark.parametrize(
    ("change", "message"),
    [(lambda x: x * np.nan, "not finite"), (lambda x: x[..., None], "its architecture requires")],
)
def test_bad_theta_is_not_saved(tmp_path, theta, change, message):
    with pytest.raises(ArtifactError, match=message):
        optimizers.save(tmp_path / "bad", jax.tree.map(change, theta), CONFIG, CARD)


def test_a_config_of_nothing_is_refused(tmp_path, theta):
    with pytest.raises(ConfigError, match=r"no config of a learned optimizer.*MLPLoptConfig"):
        optimizers.save(tmp_path / "bad", theta, optimizers.OpenNetworkConfig(), CARD)
