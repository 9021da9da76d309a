"""Published weights on disk: what is read, and what is refused."""

import io

import jax
import numpy as np
import pytest

from metarl.core.errors import ArtifactError
from metarl.optimizers.open.open_network import OpenNetworkConfig, to_vector
from metarl.optimizers.open.open_weights import by_path, load_open
from tests.optimizers.weights import released

RNG = np.random.default_rng(0)
GOOD = RNG.normal(size=1211).astype(np.float32)


def saved(array, **options):
    buffer = io.BytesIO()
    np.save(buffer, array, **options)
    return buffer.getvalue()


def with_nan():
    array = GOOD.copy()
    array[7] = np.nan
    return array


@pytest.mark.parametrize(
    ("size", "config"), [(1211, OpenNetworkConfig()), (3571, OpenNetworkConfig(16, 32))]
)
def test_the_length_tells_the_architecture(tmp_path, size, config, key):
    vector = RNG.normal(size=size).astype(np.float32)
    np.save(tmp_path / "mine.npy", vector)
    found, theta = load_open(tmp_path / "mine.npy")
    assert found == config
    np.testing.assert_array_equal(to_vector(config, theta), vector)
    optimizer = by_path(str(tmp_path / "mine.npy"))
    assert optimizer.name == "open-mine"
    assert optimizer.needs_activity
    jax.tree.map(np.testing.assert_array_equal, optimizer.init(key), theta)


BAD = {
    "another rule": (saved(GOOD[:1152]), r"shape \(1152,\); .*\(1211,\) or \(3571,\)"),
    "two axes": (saved(GOOD[None]), r"shape \(1, 1211\)"),
    "doubles": (saved(GOOD.astype(np.float64)), "holds float64"),
    "other byte order": (saved(GOOD.astype(">f4")), "holds >f4"),
    "nan": (saved(with_nan()), "not finite"),
    "truncated": (saved(GOOD)[:-8], "damaged"),
    "only a header": (saved(GOOD)[:128], "damaged"),
    "torn header": (saved(GOOD)[:40], "damaged"),
    "broken header": (saved(GOOD).replace(b"}", b"("), "damaged"),
    "objects": (saved(np.array([{}, None]), allow_pickle=True), "Python objects"),
    "a bare pickle": (b"\x80\x04\x95\x05\x00\x00\x00\x00\x00\x00\x00]\x94.", "not a .npy file"),
    "nothing": (b"", "not a .npy file"),
    "too large": (saved(np.zeros(300_000, np.float32)), "larger than any"),
    "a huge claim": (saved(GOOD).replace(b"(1211,), ", b"(10**12,)"), "damaged"),
    "a huge number": (saved(GOOD).replace(b"(1211,), }  ", b"(98765432109,)}"), "damaged"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_files_are_refused(tmp_path, case):
    data, message = BAD[case]
    path = tmp_path / "weights.npy"
    path.write_bytes(data)
    with pytest.raises(ArtifactError, match=message):
        load_open(path)


def test_missing_files_are_refused(tmp_path):
    with pytest.raises(ArtifactError, match="No such file"):
        by_path(tmp_path / "absent.npy")
    with pytest.raises(ArtifactError, match="Is a directory"):
        by_path(tmp_path)


@pytest.mark.parametrize(
    ("name", "size"),
    [(n, 1211) for n in ("ant", "asterix", "breakout", "freeway", "gridworld", "spaceinvaders")]
    + [("multi", 3571)],
)
def test_released_files_load(name, size):
    config, _ = load_open(released(name))
    assert config.size == size
