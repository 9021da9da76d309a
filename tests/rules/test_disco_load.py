import io
import pickle

import jax
import numpy as np
import pytest

from metarl.core.errors import ArtifactError
from metarl.rules import disco
from metarl.rules.disco.theta import published_shapes

CONFIG = disco.DiscoConfig(
    prediction_size=5, bins=7, width=4, lifetime_width=3, embedding=2, action_channels=(3, 2)
)
SHAPES = published_shapes(CONFIG)


def arrays(seed=0):
    rng = np.random.default_rng(seed)
    return {name: rng.normal(size=shape).astype(np.float32) for name, shape in SHAPES.items()}


def saved(tmp_path, content, name="rule.npz"):
    path = tmp_path / name
    np.savez(path, **content)
    return path


def test_every_array_is_found_again(tmp_path):
    content = arrays()
    loaded = disco.load(saved(tmp_path, content), CONFIG)
    leaves = jax.tree.leaves(loaded.theta)
    assert len(leaves) == len(content) == 42
    expected = sorted(float(x.sum()) for x in content.values())
    np.testing.assert_array_equal(sorted(float(x.sum()) for x in leaves), expected)
    theta = loaded.theta
    # The names that are ours against those that were published, where shapes do not tell.
    life = "lstm/~/meta_lstm/~unroll"
    for layer, name in {
        ("trajectory", "y_hat"): "lstm/linear_2",
        ("trajectory", "z_hat"): "lstm/linear_3",
        ("trajectory", "y_hidden"): "lstm/mlp/~/linear_0",
        ("trajectory", "z_hidden"): "lstm/mlp_1/~/linear_0",
        ("lifetime", "y_hidden"): f"{life}/mlp/~/linear_0",
        ("lifetime", "z_hidden"): f"{life}/mlp_1/~/linear_0",
    }.items():
        np.testing.assert_array_equal(theta[layer[0]][layer[1]]["w"], content[f"{name}/w"])
    assert not loaded.is_disco_103
    assert len(loaded.sha256) == 64


def test_its_rule_begins_there(tmp_path, key):
    loaded = disco.load(saved(tmp_path, arrays()), CONFIG)
    theta = loaded.rule.init(key)
    jax.tree.map(np.testing.assert_array_equal, theta, loaded.theta)
    assert loaded.rule.outputs(2)["z"] == (2, 5)


def damaged(change):
    content = arrays()
    change(content)
    return content


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.update(mu=np.zeros(3, np.float32)), "not of a DiscoRL"),
        (lambda c: c.pop("lstm/linear_4/b"), "missing"),
        (
            lambda c: c.update({"lstm/linear/b": np.zeros(5, np.float32)}),
            r"\(5,\), expected \(4,\)",
        ),
        (lambda c: c.update({"lstm/linear/b": np.zeros(4)}), "float64"),
        (lambda c: c.update({"lstm/linear/b": np.float32([0, 1, np.nan, 2])}), "not finite"),
        (lambda c: c.update({"lstm/linear/b": np.array([{}, 1, 2, 3])}), "plain arrays"),
    ],
)
def test_damage_inside_is_refused(tmp_path, change, message):
    with pytest.raises(ArtifactError, match=message):
        disco.load(saved(tmp_path, damaged(change)), CONFIG)


def test_other_widths_are_refused(tmp_path):
    with pytest.raises(ArtifactError, match="expected"):
        disco.load(saved(tmp_path, arrays()))


def other_files():
    whole = io.BytesIO()
    np.savez(whole, **arrays())
    single = io.BytesIO()
    np.save(single, np.zeros(3))
    data = whole.getvalue()
    return {
        "empty": b"",
        "text": b"not weights",
        "cut": data[: len(data) // 2],
        "flipped": data[:200] + bytes([data[200] ^ 1]) + data[201:],
        "single": single.getvalue(),
        "pickle": pickle.dumps({"lstm/linear/b": [1.0]}),
    }


@pytest.mark.parametrize("kind", sorted(other_files()))
def test_other_files_are_refused(tmp_path, kind):
    path = tmp_path / "rule.npz"
    path.write_bytes(other_files()[kind])
    with pytest.raises(ArtifactError, match=r"rule\.npz"):
        disco.load(path, CONFIG)


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(ArtifactError, match="nowhere"):
        disco.load(tmp_path / "nowhere.npz", CONFIG)
