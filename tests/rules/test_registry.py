import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from metarl.core.errors import ArtifactError, ConfigError
from metarl.io.artifacts import save_artifact
from metarl.rules import (
    LearnedDriftConfig,
    by_name,
    learned_drift,
    load,
    pretrained,
    registry,
    save,
)
from tests.cards import CARD

from .properties import grid, violations

CONFIG = LearnedDriftConfig(hidden=6, ppo_init=True, epsilon=0.3)


def theta_of(config=CONFIG):
    rng = np.random.default_rng(0)
    return {name: jnp.float32(rng.normal(size=shape)) for name, shape in config.shapes.items()}


@pytest.fixture
def saved(tmp_path):
    return save(tmp_path / "tiny.safetensors", theta_of(), CONFIG, CARD)


def test_a_saved_drift_comes_back_the_same(saved):
    drift = load(saved)
    ratio, advantage = grid()
    expected = learned_drift(CONFIG).apply(theta_of(), ratio, advantage, jnp.float32(0))
    assert (drift.name, drift.config, drift.card["kind"]) == ("tiny", CONFIG, "drift")
    np.testing.assert_array_equal(drift(ratio, advantage), expected)
    assert violations(lambda r, a: drift(r, a)) == []


def test_a_temporal_drift_comes_back_and_asks_for_the_progress(tmp_path):
    config = LearnedDriftConfig(hidden=6, temporal=True)
    theta = theta_of(config)
    path = save(tmp_path / "aged.safetensors", theta, config, {**CARD, "name": "aged"})
    drift = load(path)
    assert drift.config == config
    ratio, advantage = grid()
    found = [drift(ratio, advantage, progress) for progress in (0.0, 0.5)]
    for value, progress in zip(found, (0.0, 0.5), strict=True):
        expected = learned_drift(config).apply(theta, ratio, advantage, jnp.float32(progress))
        np.testing.assert_array_equal(value, expected)
    assert np.any(found[0] != found[1])
    with pytest.raises(ConfigError, match=r"aged is temporal: call drift\(.*progress\)"):
        drift(ratio, advantage)
    rule = by_name(path)
    start = rule.init(jax.random.key(0))
    np.testing.assert_array_equal(rule.apply(start, ratio, advantage, 0.5), found[1])


def test_a_drift_that_knows_no_age_takes_the_progress_and_ignores_it(saved):
    ratio, advantage = grid()
    drift = load(saved)
    np.testing.assert_array_equal(drift(ratio, advantage, 0.7), drift(ratio, advantage))


def test_the_rule_starts_at_the_loaded_weights(saved, key):
    rule = by_name(saved)
    assert rule.name == "tiny"
    for name, array in rule.init(key).items():
        np.testing.assert_array_equal(array, theta_of()[name])
    ratio, advantage = grid()
    np.testing.assert_array_equal(
        rule.apply(rule.init(key), ratio, advantage, jnp.float32(0)), load(saved)(ratio, advantage)
    )


def test_usable_under_jit_grad_vmap_and_broadcasting(saved):
    drift = load(saved)
    ratio, advantage = jnp.array([0.5, 1.0, 1.9]), jnp.array([-1.0, 1.0, 2.0])
    slopes = jax.jit(jax.vmap(jax.grad(drift)))(ratio, advantage)
    assert slopes.shape == (3,)
    assert slopes[1] == 0
    # float32 rounding of eight inputs of size about 1.
    np.testing.assert_allclose(drift(ratio, 2.0)[2], drift(1.9, 2.0), rtol=1e-5)


def test_shipped_names_resolve(saved, monkeypatch):
    monkeypatch.setattr(registry, "_pretrained_paths", lambda: {"lpo_tiny": saved})
    assert pretrained() == ["lpo_tiny"]
    np.testing.assert_array_equal(load("lpo_tiny").theta["first"], theta_of()["first"])
    assert by_name("lpo_tiny").name == "tiny"
    with pytest.raises(ArtifactError, match="mean 'lpo_tiny'"):
        load("lpo_tny")
    with pytest.raises(ConfigError, match="mean 'lpo_tiny'"):
        by_name("lpo_tny")


def test_every_shipped_drift_meets_the_conditions():
    for name in pretrained():
        drift = load(name)
        temporal = drift.card["architecture"].get("temporal", False)
        for age in ((0.0,), (0.5,), (1.0,)) if temporal else ((),):
            assert violations(lambda r, a, drift=drift, age=age: drift(r, a, *age)) == []


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ArtifactError, match="nothing"):
        by_name(tmp_path / "nothing.safetensors")


def test_another_kind_is_refused(tmp_path):
    card = {**CARD, "kind": "optimizer"}
    path = save_artifact(tmp_path / "x.safetensors", {"a": np.zeros(2, np.float32)}, card)
    with pytest.raises(ArtifactError, match="'optimizer', not 'drift'"):
        load(path)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"hidden": 7}, "requires"),
        ({"hidden": -1}, "hidden must be positive"),
        ({"width": 6}, "Permitted fields"),
    ],
)
def test_weights_that_do_not_fit_the_card_are_refused(saved, change, said):
    card_path = saved.with_suffix(".json")
    card = json.loads(card_path.read_text())
    card["architecture"].update(change)
    card_path.write_text(json.dumps(card))
    with pytest.raises(ArtifactError, match=said):
        load(saved)


def test_weights_that_are_not_finite_are_not_saved(tmp_path):
    theta = theta_of() | {"last": jnp.full(CONFIG.shapes["last"], jnp.nan)}
    with pytest.raises(ArtifactError, match="'last'"):
        save(tmp_path / "bad.safetensors", theta, CONFIG, CARD)
    assert list(tmp_path.iterdir()) == []
