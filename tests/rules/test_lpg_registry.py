"""Learned policy gradients on disk: to the bit, or refused with the reason."""

import json

import jax
import numpy as np
import pytest

from metarl import rules
from metarl.core.errors import ArtifactError
from metarl.rules import lpg_registry
from metarl.rules.lpg_network import LPGConfig, init_theta
from tests.cards import CARD

SMALL = LPGConfig(core="gru", width=4, categories=3, embedding=2)


@pytest.fixture
def saved(tmp_path, key):
    theta = init_theta(SMALL, key)
    return theta, lpg_registry.save(tmp_path / "tiny", theta, SMALL, CARD)


def test_round_trip(saved):
    theta, path = saved
    loaded = lpg_registry.load(path)
    assert loaded.config == SMALL
    assert loaded.name == "tiny"
    assert jax.tree.structure(loaded.theta) == jax.tree.structure(theta)
    for a, b in zip(jax.tree.leaves(loaded.theta), jax.tree.leaves(theta), strict=True):
        np.testing.assert_array_equal(a, b)
    start = loaded.rule.init(jax.random.key(9))
    assert jax.tree.structure(start) == jax.tree.structure(theta)


def test_another_kind_is_refused(saved):
    _, path = saved
    with pytest.raises(ArtifactError, match="holds 'lpg', not 'drift'"):
        rules.load(path)


def _edit_card(path, **changes):
    card_path = path.with_suffix(".json")
    card = json.loads(card_path.read_text())
    card_path.write_text(json.dumps({**card, **changes}))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kind": "drift"}, "not 'lpg'"),
        ({"architecture": {"width": 4, "color": 1}}, "Permitted fields"),
        ({"architecture": {"width": -4}}, "not valid"),
        ({"architecture": {"width": 8}}, "its architecture requires"),
    ],
)
def test_a_card_that_does_not_fit_is_refused(saved, changes, message):
    _, path = saved
    _edit_card(path, **changes)
    with pytest.raises(ArtifactError, match=message):
        lpg_registry.load(path)


def test_truncated_weights_are_refused(saved):
    _, path = saved
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(ArtifactError):
        lpg_registry.load(path)


def test_theta_that_is_not_finite_is_not_saved(tmp_path, key):
    theta = jax.tree.map(lambda x: x * np.nan, init_theta(SMALL, key))
    with pytest.raises(ArtifactError, match="not finite"):
        lpg_registry.save(tmp_path / "bad", theta, SMALL, CARD)
