"""Artifacts come back to the bit, or are refused with a reason."""

import hashlib
import json
import pickle
import re

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from metarl.core.errors import ArtifactError, RunError
from metarl.io import artifacts, atomic
from metarl.io.artifacts import CARD_FIELDS, config_hash, load_artifact, save_artifact

_CARD = {field: f"the {field}" for field in CARD_FIELDS} | {"scores": {"CartPole-v1": 475.5}}

_DTYPES = st.sampled_from(["?", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8"]) | st.sampled_from(
    ["<f2", "<f4", "<f8", "<c8", ">f4", ">i2"]
)
_ARRAYS = _DTYPES.flatmap(
    lambda dtype: hnp.arrays(dtype, hnp.array_shapes(min_dims=0, min_side=0, max_side=4))
)
_NAMES = st.text(
    st.characters(exclude_characters="/", exclude_categories=["Cs"]), min_size=1, max_size=6
).filter(lambda name: name != "__metadata__")
_TREES = st.dictionaries(
    _NAMES,
    st.recursive(_ARRAYS, lambda inner: st.dictionaries(_NAMES, inner, min_size=1, max_size=3)),
    max_size=4,
)


def _assert_same(restored, saved):
    if isinstance(saved, dict):
        assert set(restored) == set(saved)
        for name, value in saved.items():
            _assert_same(restored[name], value)
    else:
        assert restored.dtype == saved.dtype.newbyteorder("=")
        assert restored.shape == saved.shape
        assert restored.tobytes() == saved.astype(restored.dtype).tobytes()


@pytest.fixture
def saved(tmp_path):
    arrays = {"dense": {"kernel": np.arange(6.0).reshape(2, 3), "bias": np.ones(3, "f4")}}
    return save_artifact(tmp_path / "lpo", arrays, _CARD)


@settings(max_examples=60, deadline=None)
@given(tree=_TREES)
def test_any_tree_round_trips(tmp_path_factory, tree):
    path = save_artifact(tmp_path_factory.mktemp("a") / "x.safetensors", tree, _CARD)
    _assert_same(load_artifact(path).arrays, tree)


@pytest.mark.parametrize(
    "array",
    [
        jnp.arange(3.0),
        np.arange(12.0).reshape(3, 4).T,
        np.arange(10)[::-2],
        np.array([1.5, np.nan, -np.inf], ml_dtypes.bfloat16),
        np.float32(2.5),
    ],
    ids=["jax", "transposed", "strided", "bfloat16", "scalar"],
)
def test_layouts_and_dtypes_round_trip(tmp_path, array):
    restored = load_artifact(save_artifact(tmp_path / "x", {"a": array}, _CARD)).arrays["a"]
    expected = np.asarray(array)
    assert restored.dtype == expected.dtype
    assert (restored.shape, restored.tobytes()) == (expected.shape, expected.tobytes())
    restored[...] = 0  # not a read-only view of the file's bytes


def test_the_card_beside_the_weights(saved):
    text = saved.with_suffix(".json").read_text()
    card = json.loads(text)
    assert card["format"] == 1
    assert card["weights_sha256"] == hashlib.sha256(saved.read_bytes()).hexdigest()
    assert {field: card[field] for field in CARD_FIELDS} == _CARD
    assert list(card) == sorted(card)
    assert text.startswith('{\n  "')
    assert text.endswith("}\n")


def test_other_safetensors_readers_see_joined_names(saved):
    assert set(safetensors.numpy.load_file(saved)) == {"dense/kernel", "dense/bias"}


@pytest.mark.parametrize("name", ["lpo", "lpo.safetensors", "lpo.json"])
def test_any_of_the_three_names_loads(saved, name):
    artifact = load_artifact(str(saved.parent / name))
    assert artifact.path == saved
    assert artifact.card["kind"] == "the kind"


def test_a_dot_in_the_name_is_no_suffix(tmp_path):
    path = save_artifact(tmp_path / "lpo-0.5", {"a": np.ones(1)}, _CARD)
    assert path.name == "lpo-0.5.safetensors"
    assert load_artifact(tmp_path / "lpo-0.5").path == path


@pytest.mark.parametrize("field", CARD_FIELDS)
def test_every_card_field_is_needed(tmp_path, field):
    card = {name: value for name, value in _CARD.items() if name != field}
    with pytest.raises(ArtifactError, match=f"lacks {field};"):
        save_artifact(tmp_path / "x", {"a": np.ones(1)}, card)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"a/b": np.ones(1)}, "'a/b' cannot name an array"),
        ({"": np.ones(1)}, "'' cannot name"),
        ({3: np.ones(1)}, "3 cannot name"),
        ({"a": {"b": {}}}, "'a/b' is empty"),
        ({"a": np.array(["x"])}, "dtype <U1; storable: bfloat16, bool"),
        ({"a": np.ones(1, "c16")}, "complex128"),
        ({"a": object()}, "dtype object"),
    ],
)
def test_what_cannot_be_stored_is_named(tmp_path, arrays, message):
    with pytest.raises(ArtifactError, match=re.escape(message)):
        save_artifact(tmp_path / "x", arrays, _CARD)


def test_a_prng_key_is_refused(tmp_path):
    with pytest.raises(ArtifactError, match="'key'"):
        save_artifact(tmp_path / "x", {"key": jax.random.key(0)}, _CARD)


def test_every_altered_or_missing_byte_of_the_weights_is_found(saved):
    data = saved.read_bytes()
    for position in range(len(data)):
        flipped = bytearray(data)
        flipped[position] ^= 1 << (position % 8)
        saved.write_bytes(flipped)
        with pytest.raises(ArtifactError, match=r"lpo\.safetensors is altered or truncated"):
            load_artifact(saved)
    for size in (0, 7, len(data) // 2, len(data) - 1):
        saved.write_bytes(data[:size])
        with pytest.raises(ArtifactError, match=f"of its {size} bytes"):
            load_artifact(saved)


def test_a_pickle_is_never_read(tmp_path, saved):
    class Bomb:
        def __reduce__(self):
            return (tmp_path.joinpath("exploded").touch, ())

    data = pickle.dumps(Bomb())
    saved.write_bytes(data)
    card = json.loads(saved.with_suffix(".json").read_text())
    card["weights_sha256"] = hashlib.sha256(data).hexdigest()
    saved.with_suffix(".json").write_text(json.dumps(card))
    with pytest.raises(ArtifactError, match="is not a safetensors file"):
        load_artifact(saved)
    other = tmp_path / "weights.pkl"
    other.write_bytes(data)
    with pytest.raises(ArtifactError, match=r"weights\.pkl is not an artifact"):
        load_artifact(other)
    assert not (tmp_path / "exploded").exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, r"has no card: lpo\.json is missing"),
        ("{", r"lpo\.json is not JSON"),
        ("[]", r"lpo\.json is not a JSON object"),
        ("{}", r"lpo\.json lacks format, weights_sha256, kind"),
        (b"\xff\xfe", r"lpo\.json is not JSON"),
        ("[" * 100_000, r"lpo\.json is not JSON"),
    ],
)
def test_a_bad_card_is_named(saved, text, message):
    card = saved.with_suffix(".json")
    card.unlink() if text is None else card.write_bytes(
        text if isinstance(text, bytes) else text.encode()
    )
    with pytest.raises(ArtifactError, match=message):
        load_artifact(saved)


def test_another_format_is_refused(saved):
    path = saved.with_suffix(".json")
    path.write_text(path.read_text().replace('"format": 1', '"format": 2'))
    with pytest.raises(ArtifactError, match="has format 2; this version reads 1"):
        load_artifact(saved)


def test_a_missing_artifact_names_the_nearest(saved):
    with pytest.raises(ArtifactError, match=r"Did you mean 'lpo\.safetensors'"):
        load_artifact(saved.parent / "lpoo")
    with pytest.raises(ArtifactError, match=r"folder .* does not exist"):
        load_artifact(saved.parent / "nowhere" / "lpo")


def test_conflicting_names_in_a_foreign_file_are_refused(saved):
    data = safetensors.numpy.save({"a": np.ones(1), "a/b": np.ones(1)})
    saved.write_bytes(data)
    card = json.loads(saved.with_suffix(".json").read_text())
    card["weights_sha256"] = hashlib.sha256(data).hexdigest()
    saved.with_suffix(".json").write_text(json.dumps(card))
    with pytest.raises(ArtifactError, match=r"lpo\.safetensors holds"):
        load_artifact(saved)


def test_a_full_disk_keeps_the_old_artifact(saved, monkeypatch):
    def full(*args):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(atomic.os, "write", full)
        with pytest.raises(RunError, match="ENOSPC"):
            save_artifact(saved, {"a": np.zeros(9)}, _CARD)
    assert set(load_artifact(saved).arrays) == {"dense"}


def test_config_hash_is_the_hash_of_canonical_json():
    expected = hashlib.sha256(b'{"a":1,"b":[0.5,null,true]}').hexdigest()[:16]
    assert config_hash({"b": (0.5, None, True), "a": 1}) == expected
    assert config_hash({"a": np.int64(1), "b": [np.float64(0.5), None, True]}) == expected
    assert config_hash({"a": 2, "b": [0.5, None, True]}) != expected


def test_every_dtype_of_the_table_is_one_that_safetensors_writes():
    for name, dtype in artifacts._DTYPES.items():
        data = safetensors.numpy.save({"a": np.zeros(2, dtype)})
        assert f'"dtype":"{name}"'.encode() in data
