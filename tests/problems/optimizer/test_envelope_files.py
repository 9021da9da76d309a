"""Envelopes on disk."""

import json
import os
from pathlib import Path

import numpy as np
import pytest

from metarl.core.errors import ArtifactError, ConfigError
from metarl.problems.optimizer import envelope_files
from metarl.problems.optimizer.envelope import Envelope
from metarl.problems.optimizer.envelope_files import (
    StoredEnvelopes,
    load_envelopes,
    load_published,
    save_envelopes,
)

STORED = StoredEnvelopes(
    "toy/a", 3, (Envelope([0, 5], [2.5, 1 / 3]), Envelope([0, 7], [1.0, 0.0])), {"seeds": 3}
)


def test_round_trip(tmp_path):
    save_envelopes(tmp_path / "a.json", STORED)
    loaded = load_envelopes(tmp_path / "a.json")
    assert (loaded.family, loaded.seed, loaded.made) == ("toy/a", 3, {"seeds": 3})
    for x, y in zip(loaded.envelopes, STORED.envelopes, strict=True):
        np.testing.assert_array_equal(x.steps, y.steps)
        np.testing.assert_allclose(x.losses, y.losses, rtol=5e-6)  # six digits are kept


def test_envelopes_are_those_of_certain_tasks():
    assert STORED.for_tasks("toy/a", 3, 2, alike=False) == list(STORED.envelopes)
    # Where all tasks are one, any number of them has the first envelope.
    assert STORED.for_tasks("toy/a", 9, 3, alike=True) == [STORED.envelopes[0]] * 3
    for family, seed, tasks in [("toy/b", 3, 2), ("toy/a", 4, 2), ("toy/a", 3, 1)]:
        with pytest.raises(ConfigError, match="he envelopes are those"):
            STORED.for_tasks(family, seed, tasks, alike=False)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "no JSON"),
        ("[]", "no JSON object"),
        ('{"format": "other"}', "has format 'other'"),
        ('{"format": "metarl-envelopes/1"}', "does not hold envelopes"),
        (
            '{"format": "metarl-envelopes/1", "family": "a", "seed": 0, "made": {}, '
            '"envelopes": [{"steps": [0, 1], "losses": [0, 1]}]}',
            "losses must not",
        ),
    ],
)
def test_bad_files_are_named(tmp_path, content, message):
    path = tmp_path / "a.json"
    path.write_text(content)
    with pytest.raises(ArtifactError, match=message):
        load_envelopes(path)
    with pytest.raises(ArtifactError, match="Cannot read"):
        load_envelopes(tmp_path / "absent.json")


def test_a_misspelt_name_is_answered_with_the_nearest(monkeypatch):
    monkeypatch.setattr(envelope_files, "names", lambda: ["mlp-digits"])
    with pytest.raises(ConfigError, match="Did you mean 'mlp-digits'"):
        load_envelopes("mlp-digit")


def test_what_is_shipped_can_be_read():
    for name in envelope_files.names():
        assert load_envelopes(name).made["updates"] == load_envelopes(name).envelopes[0].steps[-1]


def test_published_envelopes_by_hand(tmp_path):
    path = tmp_path / "curves.json"
    path.write_text(json.dumps({"task": [[0.0, 10.0], [2.0, 1.0]]}))
    assert load_published(path)["task"].steps_to(1.5) == 5.0
    path.write_text(json.dumps({"task": [[0.0, 10.0], [1.0, 2.0]]}))
    with pytest.raises(ArtifactError, match="does not hold published envelopes"):
        load_published(path)


# Losses after 0, 1k, 2k, 10k and 100k updates, read off the published file by other code.
PUBLISHED = {
    "ImageMLP_FashionMnist8_Relu32": (2.3071, 0.5512, 0.4954, 0.4184, 0.3677),
    "ImageMLP_Cifar10_8_Relu32": (2.3114, 1.7512, 1.6314, 1.4713, 1.3265),
    "RNNLM_lm1bbytes_Patch32_GRU128_Embed64": (5.5814, 1.6644, 1.5584, 1.4372, 1.3805),
}


def test_the_published_file():
    folder = os.environ.get("METARL_REFERENCE_DATA")
    path = Path(folder or "") / "speedup_over_multiple_baselines.json"
    if folder is None or not path.is_file():
        pytest.skip(f"METARL_REFERENCE_DATA names no folder with {path.name}")
    found = load_published(path)
    assert len(found) == 125
    assert all(envelope.steps.size == 512 for envelope in found.values())
    for name, expected in PUBLISHED.items():
        envelope = found[name]
        at = [envelope.loss_at(n) for n in (0, 1000, 2000, 10_000, 100_000)]
        np.testing.assert_allclose(at, expected, atol=5e-5)  # four decimals
